"""Read a WfFormat file as a Trace, or raise one InputError that names the file, the task and what is wrong.

Later steps rely on what is checked here: every task was executed and has a possible runtime, its parents exist,
there is no cycle, and every text fits its field of the contract.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from publishers.wfformat.document import load
from publishers.wfformat.fields import known, known_text, names_of, quoted, section
from publishers.wfformat.graph import join_links, order
from publishers.wfformat.identity import References, identify, match_executions
from publishers.wfformat.moments import moment
from publishers.wfformat.names import check_distinct, shorten
from publishers.wfformat.stages import Named, stages_of
from publishers.wfformat.versions import Recording, recording
from schemas.contract import SOURCE_BYTES, WORKER_BYTES
from schemas.errors import InputError

MOST_RUNTIME_SECONDS = 10 * 365 * 86_400.0
"""The longest runtime that is believed: ten years."""

_ARGS_CHARACTERS = 2_000


@dataclass(frozen=True, slots=True)
class Task:
    """One executed task. ``args`` are its program and arguments; ``executor`` is '' where the file names no machine.

    ``stage`` fits the contract. Where it is shortened, ``meta`` has the whole name.
    """

    id: str
    stage: str
    parents: tuple[str, ...]
    runtime_us: int
    executor: str
    args: Mapping[str, object]
    meta: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Trace:
    """One recorded execution. Each task comes after its parents. ``executed_at`` is UTC, or None when not readable."""

    path: Path
    sha256: str
    workflow: str
    runtime_system: str
    executed_at: datetime | None
    executed_at_text: str
    tasks: tuple[Task, ...]
    meta: Mapping[str, str]

    @property
    def edges(self) -> int:
        """The number of dependencies between tasks."""
        return sum(len(task.parents) for task in self.tasks)

    @property
    def tasks_per_stage(self) -> Counter[str]:
        """The number of tasks in each stage."""
        return Counter(task.stage for task in self.tasks)


def read(path: Path) -> Trace:
    """Read and check one file, ``.json`` or ``.json.gz``. Raises InputError."""
    document = load(path)
    content = document.content
    where = str(path)
    recorded = recording(content, where)
    system = known_text(recorded.system, "name", where)
    executed_at = recorded.execution.get("executedAt")
    executed_at_text = known(str(executed_at)) if isinstance(executed_at, str | int | float) else ""
    name = known_text(content, "name", where) or path.name.removesuffix(".gz").removesuffix(".json")
    workflow = shorten(name, WORKER_BYTES)
    return Trace(
        path=path,
        sha256=document.sha256,
        workflow=workflow,
        runtime_system=shorten(system, SOURCE_BYTES),
        executed_at=moment(executed_at),
        executed_at_text=executed_at_text,
        tasks=_tasks(where, recorded, system),
        meta=_present(
            trace_file=path.name,
            trace_sha256=document.sha256,
            runtime_system=f"{system} {known_text(recorded.system, 'version', where)}".strip(),
            recorded_at=executed_at_text,
            recorded_makespan_seconds=_measured(recorded.execution.get("makespanInSeconds")),
        )
        | ({} if workflow == name else {"workflow_name": name}),
    )


def _tasks(where: str, recorded: Recording, system: str) -> tuple[Task, ...]:
    """Return the tasks, each after its parents."""
    ids = identify(recorded.specified, where, names_are_ids=recorded.executed is None)
    references = References(recorded.specified, ids, where)
    executed = (
        recorded.specified
        if recorded.executed is None
        else match_executions(recorded.executed, references, ids, where)
    )
    halves = {
        task: (specified, execution)
        for task, (_, specified), (_, execution) in zip(ids, recorded.specified, executed, strict=True)
    }
    named = [_named(task, *halves[task], where) for task in ids]
    stages = dict(zip(ids, stages_of(named, system), strict=True))
    check_distinct(where, set(stages.values()), WORKER_BYTES)
    links = {
        key: {
            task: references.resolve(
                names_of(halves[task][0], key, f"{where}: task {quoted(task)}"),
                f"{where}: task {quoted(task)}",
                kind,
            )
            for task in ids
        }
        for key, kind in (("parents", "parent"), ("children", "child"))
    }
    parents = join_links(where, links["parents"], links["children"])
    return tuple(
        _task(where, task, *halves[task], stages[task], parents[task], recorded.file_bytes)
        for task in order(where, parents)
    )


def _named(task: str, specified: Mapping[str, Any], executed: Mapping[str, Any], where: str) -> Named:
    where = f"{where}: task {quoted(task)}"
    return Named(
        id=task,
        label=known_text(specified, "name", where) or task,
        category=known_text(executed, "category", where) or known_text(specified, "category", where),
        program=known_text(section(executed, "command", where), "program", where),
    )


def _task(
    where: str,
    task: str,
    specified: Mapping[str, Any],
    executed: Mapping[str, Any],
    stage: str,
    parents: tuple[str, ...],
    file_bytes: Mapping[str, int],
) -> Task:
    where = f"{where}: task {quoted(task)}"
    command = section(executed, "command", where)
    inputs = names_of(specified, "inputFiles", where) or ()
    outputs = names_of(specified, "outputFiles", where) or ()
    short = shorten(stage, WORKER_BYTES)
    return Task(
        id=task,
        stage=short,
        parents=parents,
        runtime_us=_runtime_us(executed, where),
        executor=", ".join(_machines(executed, where)),
        args=_args(known_text(command, "program", where), command.get("arguments")),
        meta=_present(
            input_files=len(inputs) or None,
            input_bytes=sum(file_bytes.get(file, 0) for file in inputs) or None,
            output_files=len(outputs) or None,
            output_bytes=sum(file_bytes.get(file, 0) for file in outputs) or None,
            cores=_measured(executed.get("coreCount")),
            cpu_percent=_measured(executed.get("avgCPU")),
            memory_bytes=_measured(executed.get("memoryInBytes")),
            read_bytes=_measured(executed.get("readBytes")),
            written_bytes=_measured(executed.get("writtenBytes")),
            priority=executed.get("priority"),
        )
        | ({} if short == stage else {"stage": stage}),
    )


def _runtime_us(executed: Mapping[str, Any], where: str) -> int:
    """Return how long a task ran, in microseconds. Raises InputError when that is missing or impossible."""
    seconds = executed.get("runtimeInSeconds")
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not 0 <= seconds <= MOST_RUNTIME_SECONDS
    ):
        found = repr(seconds)[:60] if "runtimeInSeconds" in executed else "nothing"
        raise InputError(
            f"{where}: expected runtimeInSeconds to be a number from 0 to {MOST_RUNTIME_SECONDS:.0f}, got {found}."
        )
    return round(seconds * 1_000_000)


def _machines(executed: Mapping[str, Any], where: str) -> tuple[str, ...]:
    """Return the machines that a task ran on. The file lists names or objects; the first files of 1.5 have one name."""
    key = "machines" if executed.get("machines") is not None else "machine"
    value = executed.get(key)
    if not isinstance(value, list):
        value = [value]
    names = [item.get("nodeName") if isinstance(item, dict) else item for item in value]
    return tuple(filter(None, map(known, names_of({key: names}, key, where) or ())))


def _args(program: str, arguments: object) -> dict[str, object]:
    """Return a command, cut when it is long, as Nextflow's scripts are. The SDK redacts the secrets in it."""
    command: dict[str, object] = {"program": program[:_ARGS_CHARACTERS]} if program else {}
    if isinstance(arguments, str) and known(arguments):
        arguments = [arguments]
    if isinstance(arguments, list) and arguments:
        kept, room = [], _ARGS_CHARACTERS
        for argument in map(str, arguments):
            if len(argument) > room:
                kept.append("…")
                break
            kept.append(argument)
            room -= len(argument)
        command["arguments"] = kept
    return command


def _measured(value: object) -> object:
    """Return a measured number unchanged, or None for an impossible one, such as -1 for "not known"."""
    return None if isinstance(value, int | float) and not 0 <= value < 2**63 else value


def _present(**values: object) -> dict[str, str]:
    """Return the values that are known, as short texts."""
    return {
        name: str(value)[:200]
        for name, value in values.items()
        if isinstance(value, int | float | str)
        and not isinstance(value, bool)
        and known(str(value))
        and str(value).isprintable()
    }
