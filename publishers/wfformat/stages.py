"""Find the stage of each task: its process, rule or transformation, whichever way the file names it. Pure.

All tasks of one process are one stage. Some files name the process, some name the program that a task ran, and some
only have a name for each task, with a sample, a number or a hash in it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_BY_NAME = ("nextflow", "snakemake", "streamflow", "cwl", "airflow", "parsl")
"""Systems that name a task after its process. Its program may be a script, or the same for several rules."""
_NUMBERS_ITS_TASKS = "snakemake"
_NAMES_PROCESS_AS_PROGRAM = "nextflow"

_SEPARATORS = " _.:/#-"
_HASH = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,}|[0-9a-f]{2}/[0-9a-f]{6,}"
# Ends of names that never belong to the process: an id, a hash, an index or wildcards, a shard.
_CERTAIN = re.compile(
    rf"(?:[{_SEPARATORS}]#?(?:task/)?(?:{_HASH})|_ID\d+|\s?\[[^\[\]]*\]|[_./-]shard-?\d+)$", re.IGNORECASE
)
_CERTAIN_AT_MOST = 3
# A number or a short hash, which may belong to the process.
_COUNTER = re.compile(r"[0-9]+|(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{6,31}")

_BARE_ID = re.compile(rf"(?:ID)?[0-9]+|{_HASH}", re.IGNORECASE)
"""A name without a process in it."""


class Named(NamedTuple):
    """What a file says about a task's process, or ''. ``label`` is the task's name, or else its id."""

    id: str
    label: str
    category: str
    program: str


def stages_of(tasks: Sequence[Named], system: str) -> list[str]:
    """Return the stage of each task of a file. ``system`` is the name of the system that ran the tasks.

    The stage is the category where the file has one. Otherwise it is the program. Where the system names a task
    after its process, or where there is no program, it is the name without the part that distinguishes tasks of one
    process.
    """
    kind = system.casefold()
    shared = Counter(task.label for task in tasks)
    processes = _processes(tasks, shared, numbered=kind.startswith(_NUMBERS_ITS_TASKS))
    stages = []
    for task, process in zip(tasks, processes, strict=True):
        if not kind.startswith(_BY_NAME):
            by_program = len(task.program.splitlines()) == 1
        elif kind.startswith(_NAMES_PROCESS_AS_PROGRAM) and shared[task.label] == 1 and _is_process(task):
            by_program = True
        else:
            by_program = _BARE_ID.fullmatch(process) is not None
        stages.append(task.category or (task.program if by_program else "") or process)
    return stages


def _is_process(task: Named) -> bool:
    """Return whether the name is the program, ``_`` and a sample. Then the program is the process, not a script."""
    return len(task.program.split()) == 1 and task.label.startswith(f"{task.program}_")


def _processes(tasks: Sequence[Named], shared: Counter[str], *, numbered: bool) -> list[str]:
    """Return each task's name without sample, number and hash. ``numbered``: the system numbers its tasks."""
    certain = [_without_certain(task, own_name=shared[task.label] == 1) for task in tasks]
    without_counter = [
        _without_counter(process) if process == task.label and shared[process] == 1 else ""
        for task, process in zip(tasks, certain, strict=True)
    ]
    siblings = Counter(without_counter)
    # If every name in a file ends with a number, the numbers count the tasks. If only some names do, a number counts
    # tasks when the name is also the task's id, which must be unique, and other names differ in the number alone.
    every = (numbered or len(tasks) > 1) and all(
        process or (numbered and cut != task.label)
        for task, cut, process in zip(tasks, certain, without_counter, strict=True)
    )
    return [
        process
        if process and (every or ((numbered or task.id == task.label) and siblings[process] > 1))
        else cut
        for task, cut, process in zip(tasks, certain, without_counter, strict=True)
    ]


def _without_certain(task: Named, *, own_name: bool) -> str:
    """Return a task's name without its id, a hash, an index, and the sample of a Nextflow task.

    ``own_name`` says that no other task has this name. Only then can it contain the task's id. An id that is a bare
    number is kept, because the number may belong to the process.
    """
    name = task.label
    endings = tuple(separator + task.id for separator in _SEPARATORS)
    if own_name and name != task.id and not task.id.isdecimal() and name.endswith(endings):
        name = name[: -len(task.id) - 1]
    for _ in range(_CERTAIN_AT_MOST):
        name = _CERTAIN.sub("", name)
    if name.endswith(")") and "(" in name:
        name = name[: name.index("(")]
    elif name != task.label:
        # Some converters write `PROCESS (sample)` and the id as `PROCESS__sample__id`.
        if name.endswith("_") and "__" in name[:-1]:
            name = name[: name.index("__")]
        name = name.rstrip(_SEPARATORS)
    return name.strip() or task.label


def _without_counter(name: str) -> str:
    """Return a name without the number or short hash at its end, or '' when it has none, or nothing else."""
    end = re.search(r"[0-9a-z]{1,31}$", name[-31:])
    if end is None or not _COUNTER.fullmatch(end[0]):
        return ""
    process = name[: -len(end[0])]
    if not process.endswith(tuple(_SEPARATORS)):
        return ""
    process = process.rstrip(_SEPARATORS)
    return process if any(character.isalpha() for character in process) else ""
