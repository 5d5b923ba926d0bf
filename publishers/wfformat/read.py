"""WfCommons' WfFormat 1.5: a file becomes a Trace, or one InputError that names the file, the task and what is wrong.

Everything a later step relies on is checked here: every task was executed, has a runtime and known parents, there is
no cycle, and every text fits its field of the contract.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from publishers.wfformat.document import load
from publishers.wfformat.graph import check_links, order
from publishers.wfformat.moments import moment
from publishers.wfformat.names import check_distinct, shorten
from schemas.contract import SOURCE_BYTES, WORKER_BYTES
from schemas.errors import InputError

SCHEMA_VERSION = "1.5"

MOST_RUNTIME_SECONDS = 10 * 365 * 86_400.0
"""A task that ran longer than ten years is a mistake in the file."""

_ARGS_CHARACTERS = 2_000
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Task:
    """One executed task. ``executor`` is '' where the file names no machine; ``args`` are its program and arguments.

    ``stage`` fits the contract; where it had to be shortened for that, ``meta`` has it whole.
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
    """One recorded execution. ``tasks`` come after their parents; ``executed_at`` is UTC, None where not readable."""

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
        """How many times a task depends on another."""
        return sum(len(task.parents) for task in self.tasks)

    @property
    def tasks_per_stage(self) -> Counter[str]:
        return Counter(task.stage for task in self.tasks)


def read(path: Path) -> Trace:
    """Read and check one file, ``.json`` or ``.json.gz``. Raises InputError."""
    document = load(path)
    content = document.content
    where = str(path)
    version = content.get("schemaVersion")
    if version != SCHEMA_VERSION:
        raise InputError(
            f"{where}: expected WfFormat schemaVersion {SCHEMA_VERSION!r}, got {version!r}: "
            "convert the file with WfCommons' tools, or get it from a release of WfInstances that uses 1.5."
        )
    workflow = _of(content, "workflow", dict, where)
    system = _of(content, "runtimeSystem", dict, where, default={})
    system_name = _text(system, "name", where, default="")
    execution = _of(workflow, "execution", dict, f"{where}: workflow")
    executed_at = execution.get("executedAt")
    executed_at_text = str(executed_at) if isinstance(executed_at, str | int | float) else ""
    name = _text(content, "name", where, default="") or path.name.removesuffix(".gz").removesuffix(".json")
    workflow_name = shorten(name, WORKER_BYTES)
    return Trace(
        path=path,
        sha256=document.sha256,
        workflow=workflow_name,
        runtime_system=shorten(system_name, SOURCE_BYTES),
        executed_at=moment(executed_at),
        executed_at_text=executed_at_text,
        tasks=_tasks(where, workflow, execution, by_name=system_name.casefold() == "nextflow"),
        meta=_present(
            trace_file=path.name,
            trace_sha256=document.sha256,
            runtime_system=f"{system_name} {system.get('version', '')}".strip(),
            recorded_at=executed_at_text,
            recorded_makespan_seconds=execution.get("makespanInSeconds"),
        )
        | ({} if workflow_name == name else {"workflow_name": name}),
    )


def _tasks(
    where: str, workflow: dict[str, Any], execution: dict[str, Any], *, by_name: bool
) -> tuple[Task, ...]:
    specification = _of(workflow, "specification", dict, f"{where}: workflow")
    specified = _by_id(
        _of(specification, "tasks", list, f"{where}: workflow.specification"), where, "specification"
    )
    executed = _by_id(_of(execution, "tasks", list, f"{where}: workflow.execution"), where, "execution")
    if not specified:
        raise InputError(f"{where}: workflow.specification.tasks is empty: there is nothing to import.")
    for task in specified.keys() ^ executed.keys():
        has, lacks = ("specification", "execution") if task in specified else ("execution", "specification")
        raise InputError(
            f"{where}: task {task!r} is in workflow.{has}.tasks, but not in workflow.{lacks}.tasks."
        )
    parents = {task: _ids(entry, "parents", f"{where}: task {task!r}") for task, entry in specified.items()}
    children = {
        task: _ids(entry, "children", f"{where}: task {task!r}")
        for task, entry in specified.items()
        if "children" in entry
    }
    check_links(where, parents, children)
    sizes = _file_sizes(specification, where)
    tasks = tuple(
        _task(where, task, specified[task], executed[task], parents[task], sizes, by_name=by_name)
        for task in order(where, parents)
    )
    check_distinct(where, {task.meta.get("stage", task.stage) for task in tasks}, WORKER_BYTES)
    return tasks


def _task(
    where: str,
    task: str,
    specified: dict[str, Any],
    executed: dict[str, Any],
    parents: tuple[str, ...],
    sizes: Mapping[str, int],
    *,
    by_name: bool,
) -> Task:
    where = f"{where}: task {task!r}"
    name = _text(specified, "name", where)
    command = _of(executed, "command", dict, where, default={})
    program = _text(command, "program", where, default="")
    stage = name if by_name or not program else program
    short = shorten(stage, WORKER_BYTES)
    inputs = _ids(specified, "inputFiles", where, default=[])
    outputs = _ids(specified, "outputFiles", where, default=[])
    return Task(
        id=task,
        stage=short,
        parents=parents,
        runtime_us=_runtime_us(executed, where),
        executor=", ".join(_ids(executed, "machines", where, default=[])),
        args=_args(program, command.get("arguments")),
        meta=_present(
            input_files=len(inputs) or None,
            input_bytes=sum(sizes.get(file, 0) for file in inputs) or None,
            output_files=len(outputs) or None,
            output_bytes=sum(sizes.get(file, 0) for file in outputs) or None,
            cores=executed.get("coreCount"),
            cpu_percent=executed.get("avgCPU"),
            memory_bytes=executed.get("memoryInBytes"),
            read_bytes=executed.get("readBytes"),
            written_bytes=executed.get("writtenBytes"),
            priority=executed.get("priority"),
        )
        | ({} if short == stage else {"stage": stage}),
    )


def _runtime_us(executed: dict[str, Any], where: str) -> int:
    seconds = executed.get("runtimeInSeconds", _MISSING)
    if (
        isinstance(seconds, bool)
        or not isinstance(seconds, int | float)
        or not math.isfinite(seconds)
        or not 0 <= seconds <= MOST_RUNTIME_SECONDS
    ):
        found = "nothing" if seconds is _MISSING else repr(seconds)
        raise InputError(
            f"{where}: expected runtimeInSeconds to be a number from 0 to {MOST_RUNTIME_SECONDS:.0f}, got {found}."
        )
    return round(seconds * 1_000_000)


def _args(program: str, arguments: object) -> dict[str, object]:
    """The command, cut: long scripts (Nextflow's) keep their beginning. What it may hold of secrets, the SDK redacts."""
    command: dict[str, object] = {"program": program[:_ARGS_CHARACTERS]} if program else {}
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


def _by_id(entries: list[Any], where: str, part: str) -> dict[str, dict[str, Any]]:
    tasks: dict[str, dict[str, Any]] = {}
    for number, entry in enumerate(entries):
        place = f"{where}: workflow.{part}.tasks[{number}]"
        if not isinstance(entry, dict):
            raise InputError(f"{place}: expected an object, got {type(entry).__name__}.")
        task = _text(entry, "id", place)
        if task in tasks:
            raise InputError(f"{place}: the id {task!r} is used by two tasks.")
        tasks[task] = entry
    return tasks


def _file_sizes(specification: dict[str, Any], where: str) -> dict[str, int]:
    return {
        file["id"]: file["sizeInBytes"]
        for file in _of(specification, "files", list, f"{where}: workflow.specification", default=[])
        if isinstance(file, dict)
        and isinstance(file.get("id"), str)
        and isinstance(file.get("sizeInBytes"), int)
    }


def _of(entry: dict[str, Any], key: str, kind: type, where: str, default: object = _MISSING) -> Any:
    value = entry.get(key, default)
    if value is _MISSING:
        raise InputError(f"{where}: {key!r} is missing: this is no whole WfFormat {SCHEMA_VERSION} file.")
    if not isinstance(value, kind):
        raise InputError(
            f"{where}: expected {key!r} to be of type {kind.__name__}, got {type(value).__name__}."
        )
    return value


def _text(entry: dict[str, Any], key: str, where: str, default: object = _MISSING) -> str:
    text: str = _of(entry, key, str, where, default)
    if not text and default is _MISSING:
        raise InputError(f"{where}: {key!r} is empty.")
    _check_characters(text, f"{where}: {key!r}")
    return text


def _ids(entry: dict[str, Any], key: str, where: str, default: object = _MISSING) -> tuple[str, ...]:
    """A list of names, each once. Two mentions of one parent are one edge."""
    names: Sequence[object] = _of(entry, key, list, where, default)
    for name in names:
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: expected {key!r} to hold names, got {name!r}.")
        _check_characters(name, f"{where}: {key!r}")
    return tuple(dict.fromkeys(str(name) for name in names))


def _check_characters(text: str, where: str) -> None:
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"{where}: {text[:80]!r} holds a NUL or half a surrogate pair, which no table can store."
        )


def _present(**values: object) -> dict[str, str]:
    """The numbers and texts that are known, as short text."""
    return {
        name: str(value)[:200]
        for name, value in values.items()
        if isinstance(value, int | float | str) and value != "" and str(value).isprintable()
    }
