"""Which stage a task belongs to: its process, rule or transformation, whichever way the file names it. Pure.

A stage has the same name for all tasks that ran the same process. Some files say the process, some say what the task
ran, and some only have names with a sample, a number or a hash in them that no two tasks share.
"""

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

_BY_NAME = ("nextflow", "snakemake", "streamflow", "cwl", "airflow", "parsl")
"""Systems whose tasks are named after their process; what they ran is a script, or one program of many rules."""
_NUMBERS_ITS_TASKS = "snakemake"
_NAMES_PROCESS_AS_PROGRAM = "nextflow"

_SEPARATORS = " _.:/#-"
_HASH = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32,}|[0-9a-f]{2}/[0-9a-f]{6,}"
# What ends a name and is certainly no part of the process: an id, a hash, an index or wildcards, a shard.
_CERTAIN = re.compile(
    rf"(?:[{_SEPARATORS}]#?(?:task/)?(?:{_HASH})|_ID\d+|\s?\[[^\[\]]*\]|[_./-]shard-?\d+)$", re.IGNORECASE
)
_CERTAIN_AT_MOST = 3
# A number or a short hash, which may also be a part of the process's name.
_COUNTER = re.compile(r"[0-9]+|(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{6,31}")

_BARE_ID = re.compile(rf"(?:ID)?[0-9]+|{_HASH}", re.IGNORECASE)
"""A name that says nothing of a process."""


class Named(NamedTuple):
    """What a file says of one task's process; '' where it does not. ``label`` is its name, or else its id."""

    id: str
    label: str
    category: str
    program: str


def stages_of(tasks: Sequence[Named], system: str) -> list[str]:
    """Return the stage of each task of a file; ``system`` is the name of the system that ran them.

    It is the category where the file has one. Else it is the program, except where the system names its tasks after
    their process, or where there is no program: then it is the name, without what tells the tasks of one process apart.
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
    """Return whether the program is the process: the name is it, an underscore and the sample. Else it is a script."""
    return len(task.program.split()) == 1 and task.label.startswith(f"{task.program}_")


def _processes(tasks: Sequence[Named], shared: Counter[str], *, numbered: bool) -> list[str]:
    """Return each task's name without sample, number and hash; ``numbered`` says that the system numbers its tasks."""
    certain = [_without_certain(task, own_name=shared[task.label] == 1) for task in tasks]
    without_counter = [
        _without_counter(process) if process == task.label and shared[process] == 1 else ""
        for task, process in zip(tasks, certain, strict=True)
    ]
    siblings = Counter(without_counter)
    # A number at the end of every name in a file is a counter. Where only some names have one, it is a counter if
    # the name is the task's id, which has to differ from task to task, and others differ from it in the number alone.
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
    """Return a name without what is certainly the task's own: its id, a hash, an index, and a Nextflow task's sample.

    ``own_name`` says that no other task has the name: only then can the id be a part of it. A bare number may be both.
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
        # Converters write PROCESS (sample) and the task's id as PROCESS__sample__id.
        if name.endswith("_") and "__" in name[:-1]:
            name = name[: name.index("__")]
        name = name.rstrip(_SEPARATORS)
    return name.strip() or task.label


def _without_counter(name: str) -> str:
    """Return a name without the number or short hash that ends it; '' when none does, or when nothing else is left."""
    end = re.search(r"[0-9a-z]{1,31}$", name[-31:])
    if end is None or not _COUNTER.fullmatch(end[0]):
        return ""
    process = name[: -len(end[0])]
    if not process.endswith(tuple(_SEPARATORS)):
        return ""
    process = process.rstrip(_SEPARATORS)
    return process if any(character.isalpha() for character in process) else ""
