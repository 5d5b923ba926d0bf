"""Read all versions of WfFormat, 1.0 to 1.6, into one shape: that of 1.6.

Up to 1.4, a task is one object in ``workflow.tasks`` (``workflow.jobs`` up to 1.2), and tasks refer to each other
by name. Since 1.5, a task is two objects, one in ``workflow.specification.tasks`` and one in
``workflow.execution.tasks``, and tasks refer to each other by id. 1.6 adds numbers that follow from the rest. The
layout is recognised by the file's content, because some programs write another version's number.
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from publishers.wfformat.fields import objects, section
from schemas.errors import InputError

VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6")

_KILO = 1_000
_RENAMED = {"runtime": "runtimeInSeconds", "cores": "coreCount"}

Entry = tuple[str, Mapping[str, Any]]
"""An object's place in the file, and the object with the keys of 1.6. Its values are not checked yet."""


class Recording(NamedTuple):
    """A file's content, in the same shape for all versions.

    ``specified`` are the tasks, and ``executed`` their executions. ``executed`` is None where one object has both.
    """

    system: Mapping[str, Any]
    execution: Mapping[str, Any]
    specified: list[Entry]
    executed: list[Entry] | None
    file_bytes: Mapping[str, int]
    """The size of each data file by its id, where it is given in bytes."""


def recording(content: Mapping[str, Any], where: str) -> Recording:
    """Return a file's content, whichever version it has. Raises InputError for any other version or layout."""
    check_version(content.get("schemaVersion"), where)
    system = section(content, "runtimeSystem", where) or section(content, "wms", where)
    workflow = section(content, "workflow", where)
    if not workflow:
        raise InputError(f"{where}: 'workflow' is missing or empty: this is not a complete WfFormat file.")
    if "specification" in workflow:
        return _two_lists(workflow, system, where)
    for key in ("tasks", "jobs"):
        if key in workflow:
            return _one_list(workflow, system, key, where)
    raise InputError(
        f"{where}: expected workflow.specification (WfFormat 1.5 and 1.6), or workflow.tasks or workflow.jobs "
        f"(1.0 to 1.4), found {', '.join(map(repr, list(workflow)[:8]))}: this is not a complete WfFormat file."
    )


def check_version(version: object, where: str) -> None:
    """Raise InputError unless ``schemaVersion`` is one of VERSIONS, as text or as a number."""
    text = str(version) if isinstance(version, str | int | float) and not isinstance(version, bool) else ""
    if text in VERSIONS:
        return
    if version is None:
        raise InputError(
            f"{where}: 'schemaVersion' is missing: expected a WfFormat file of version "
            f"{VERSIONS[0]} to {VERSIONS[-1]}."
        )
    number = re.fullmatch(r"(\d{1,9})(?:\.(\d{1,9}))?(?:\..*)?", text)
    newer = number is not None and (int(number[1]), int(number[2] or 0)) > (1, 6)
    raise InputError(
        f"{where}: expected 'schemaVersion' to be a version of WfFormat from {VERSIONS[0]} to {VERSIONS[-1]}, "
        f"got {version!r:.60}: "
        + (
            f"this version of jobtrail does not read it yet. Update jobtrail, or write the file as {VERSIONS[-1]}."
            if newer
            else "get the file in one of these versions, for example from WfInstances."
        )
    )


def _two_lists(workflow: Mapping[str, Any], system: Mapping[str, Any], where: str) -> Recording:
    specification = section(workflow, "specification", f"{where}: workflow")
    execution = section(workflow, "execution", f"{where}: workflow")
    specified = objects(specification, "tasks", f"{where}: workflow.specification")
    executed = objects(execution, "tasks", f"{where}: workflow.execution")
    if not specified:
        raise InputError(f"{where}: workflow.specification.tasks is empty: there is nothing to import.")
    if not executed:
        raise InputError(
            f"{where}: workflow.execution.tasks is {'empty' if 'tasks' in execution else 'missing'}: "
            "the file describes a workflow, but not an execution of it, so there is nothing to replay. "
            "Import one that was executed."
        )
    return Recording(
        system=system,
        execution=execution,
        specified=_placed(specified, "workflow.specification.tasks"),
        executed=_placed(executed, "workflow.execution.tasks"),
        file_bytes=_file_bytes(objects(specification, "files", f"{where}: workflow.specification"), "id"),
    )


def _one_list(workflow: Mapping[str, Any], system: Mapping[str, Any], key: str, where: str) -> Recording:
    jobs = objects(workflow, key, f"{where}: workflow")
    if not jobs:
        raise InputError(f"{where}: workflow.{key} is empty: there is nothing to import.")
    if not any("runtime" in job or "runtimeInSeconds" in job for job in jobs):
        raise InputError(
            f"{where}: no task in workflow.{key} has a runtime: "
            "the file describes a workflow, but not an execution of it, so there is nothing to replay. "
            "Import one that was executed."
        )
    # These versions count bytes in kilobytes, but Pegasus wrote bytes.
    kilo = 1 if "pegasus" in str(system.get("name")).casefold() else _KILO
    files = [file for job in jobs for file in _files(job)]
    return Recording(
        system=system,
        execution={
            "executedAt": workflow.get("executedAt"),
            "makespanInSeconds": workflow.get("makespanInSeconds", workflow.get("makespan")),
        },
        specified=_placed([_as_1_6(job, kilo) for job in jobs], f"workflow.{key}"),
        executed=None,
        # `size` is not read, because its unit is not reliable: kilobytes by the schema, bytes in most files.
        file_bytes=_file_bytes(files, "name"),
    )


def _as_1_6(job: Mapping[str, Any], kilo: int) -> dict[str, Any]:
    """Return a task of version 1.0 to 1.4 with the keys of 1.6. WfCommons left out a runtime of 0."""
    task = dict(job)
    for old, new in _RENAMED.items():
        if old in job:
            task.setdefault(new, job[old])
    task.setdefault("runtimeInSeconds", 0)
    for old, new, factor in (
        ("bytesRead", "readBytes", kilo),
        ("bytesWritten", "writtenBytes", kilo),
        ("memory", "memoryInBytes", _KILO),
    ):
        if isinstance(job.get(old), int | float):
            task.setdefault(new, job[old] * factor)
    if job.get("command") is None:
        task["command"] = {"arguments": job.get("arguments")}
    for new, link in (("inputFiles", "input"), ("outputFiles", "output")):
        task[new] = [file.get("name") for file in _files(job) if file.get("link") == link]
    return task


def _files(job: Mapping[str, Any]) -> list[dict[str, Any]]:
    files = job.get("files")
    return [file for file in files if isinstance(file, dict)] if isinstance(files, list) else []


def _file_bytes(files: list[dict[str, Any]], key: str) -> dict[str, int]:
    return {
        file[key]: file["sizeInBytes"]
        for file in files
        if isinstance(file.get(key), str)
        and type(file.get("sizeInBytes")) is int
        and 0 <= file["sizeInBytes"] < 2**63
    }


def _placed(entries: list[dict[str, Any]], part: str) -> list[Entry]:
    return [(f"{part}[{number}]", entry) for number, entry in enumerate(entries)]
