"""Turn a trace into lifecycle events, in time order. Pure; ``play`` sends them.

The workflow is the run's root job at depth 0. Every task is its child at depth 1; what the task waited for is in
``depends_on``. The same trace, run id, namespace and start time give exactly the same events.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from publishers.wfformat.fields import quoted
from publishers.wfformat.names import check_distinct, shorten
from publishers.wfformat.plan import Change, makespan_us, steps, timings
from publishers.wfformat.read import Task, Trace
from schemas.contract import JOB_ID_BYTES, MAP_ENTRIES, NAMESPACE_BYTES
from schemas.errors import InputError

_EXTERNAL_ID_BYTES = 500
"""The longest external id that the SDK sends whole."""

_STATES = {Change.AVAILABLE: "available", Change.EXECUTING: "executing", Change.COMPLETED: "completed"}


class Due(NamedTuple):
    """The fields of one event, and when to publish it, in microseconds after the workflow's start."""

    at_us: int
    fields: dict[str, Any]


def job_id(run_id: str, task: str) -> str:
    """Return a task's job id. It begins with the run's id, because several files use the same task ids.

    A job id that is too long for the contract is shortened. The ``meta`` of the task's last event then has the
    whole id.
    """
    return shorten(f"{run_id}/{task}", JOB_ID_BYTES)


def check_identity(namespace: str, run_id: str, trace: Trace) -> None:
    """Raise InputError when the namespace or the run's id breaks the contract, or when two jobs get the same id."""
    _check(namespace, NAMESPACE_BYTES, "--namespace", "choose a shorter one")
    _check(run_id, JOB_ID_BYTES, "the run's id", "give a shorter --run-id")
    check_distinct(str(trace.path), [run_id, *(f"{run_id}/{task.id}" for task in trace.tasks)], JOB_ID_BYTES)


def events(trace: Trace, namespace: str, run_id: str, start_us: int) -> Iterator[Due]:
    """Yield all events of a run that starts at ``start_us`` (microseconds since 1970 UTC), in time order."""
    planned = timings(trace.tasks)
    end_us = makespan_us(planned)
    # Set explicitly: by default the SDK fills in this process and its release, which did not run these tasks.
    unknown = {"queue": "", "release": "", "executor": ""}
    root = {
        "namespace": namespace,
        "job_id": run_id,
        "worker": trace.workflow,
        "source": trace.runtime_system,
        **unknown,
        "attempt": 1,
        "enqueued_at": start_us,
        "started_at": start_us,
        "root_job_id": run_id,
        "depth": 0,
    }
    expected = list(trace.tasks_per_stage.items())
    for first in range(0, len(expected), MAP_ENTRIES):
        about_run = {"external_id": trace.workflow, "meta": dict(trace.meta)} if not first else {}
        counts = dict(expected[first : first + MAP_ENTRIES])
        yield Due(
            0,
            {**root, "state": "executing", "occurred_at": start_us, "expected_children": counts, **about_run},
        )
    for step in steps(planned):
        task = trace.tasks[step.position]
        fields = {
            "namespace": namespace,
            "job_id": job_id(run_id, task.id),
            "worker": task.stage,
            "source": trace.runtime_system,
            **unknown,
            "state": _STATES[step.change],
            "attempt": 1,
            "occurred_at": start_us + step.at_us,
            "enqueued_at": start_us + planned[step.position].start_us,
            "parent_job_id": run_id,
            "root_job_id": run_id,
            "depth": 1,
            "external_id": shorten(task.id, _EXTERNAL_ID_BYTES),
        }
        if step.change is Change.AVAILABLE:
            for extra in _on_first_event(task, run_id):
                yield Due(step.at_us, {**fields, **extra})
        else:
            fields["started_at"] = start_us + planned[step.position].start_us
            fields["executor"] = task.executor
            meta = _on_last_event(task, run_id) if step.change is Change.COMPLETED else {}
            if meta:
                fields["meta"] = meta
            yield Due(step.at_us, fields)
    yield Due(end_us, {**root, "state": "completed", "occurred_at": start_us + end_us})


def count_events(trace: Trace) -> int:
    """Return how many events ``events`` yields."""
    chunks = sum(max(1, -(-len(task.parents) // MAP_ENTRIES)) for task in trace.tasks)
    return chunks + 2 * len(trace.tasks) + -(-len(trace.tasks_per_stage) // MAP_ENTRIES) + 1


def _on_first_event(task: Task, run_id: str) -> Iterator[Mapping[str, object]]:
    """Yield what only a task's first events have: its command, and its parents in as many events as needed."""
    upstream = [job_id(run_id, parent) for parent in task.parents]
    yield {"args": dict(task.args), "depends_on": upstream[:MAP_ENTRIES]}
    for first in range(MAP_ENTRIES, len(upstream), MAP_ENTRIES):
        yield {"depends_on": upstream[first : first + MAP_ENTRIES]}


def _on_last_event(task: Task, run_id: str) -> dict[str, str]:
    """Return the ``meta`` of a task's last event. It has the task's whole id where the job id is shortened."""
    whole = job_id(run_id, task.id) == f"{run_id}/{task.id}"
    return dict(task.meta) if whole else {**task.meta, "task_id": task.id}


def _check(text: str, most: int, what: str, cure: str) -> None:
    if not text:
        raise InputError(f"{what} is empty: expected a text of 1 to {most} bytes.")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"{what} has a NUL or half a surrogate pair, which no table can store: {quoted(text)}."
        )
    size = len(text.encode())
    if size > most:
        raise InputError(
            f"{what} is {size} bytes of UTF-8, at most {most} are allowed: {cure}. It is {quoted(text)}."
        )
