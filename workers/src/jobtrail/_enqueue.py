"""Records that a job was put into a queue, and makes the header that travels with it."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from jobtrail import _header, _runtime
from jobtrail._context import current_job
from jobtrail._events import submit
from jobtrail._job import Job, lineage_of
from jobtrail._options import time_of, whole_number
from jobtrail._redact import args_json
from jobtrail._text import (
    EXTERNAL_ID_LIMIT,
    JOB_ID_LIMIT,
    NAMESPACE_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    identifier,
    text_of,
)
from jobtrail._times import Time, now

_EXTRAS: Final[tuple[tuple[str, Callable[[Any], Any]], ...]] = (
    ("depends_on", lambda names: [text_of(name) for name in names]),
    ("meta", dict),
    ("expected_children", lambda expect: {text_of(kind): int(count) for kind, count in expect.items()}),
)


def enqueued(
    worker: str,
    *,
    job_id: str | None = None,
    queue: str = "",
    source: str = "",
    external_id: str = "",
    args: Any = None,
    scheduled_at: Time = None,
    enqueued_at: Time = None,
    attempt: int = 1,
    max_attempts: int = 0,
    parent: Job | str | None = None,
    depends_on: Sequence[str] = (),
    meta: Mapping[str, object] | None = None,
    expect: Mapping[str, int] | None = None,
    namespace: str = "",
) -> dict[str, str]:
    """Record that a job was enqueued, as a child of the current one; return the headers to put beside it in its queue.

    The process that takes it from the queue runs it in ``jobtrail.job(worker, headers=headers)``. With a
    ``scheduled_at`` in the future it is scheduled, else available. ``source`` defaults to the current job's.
    ``parent`` is a Job or a job id, "" for a root. Never raises: a job that cannot be recorded is counted, and its
    headers are empty.
    """
    try:
        settings = _runtime.config()
        above = parent if isinstance(parent, Job) else current_job.get()
        space = identifier(namespace, NAMESPACE_LIMIT) or settings.namespace
        if above is not None and above.namespace and not text_of(namespace):
            space = above.namespace
        own_id = identifier(job_id, JOB_ID_LIMIT) or os.urandom(16).hex()
        lineage = lineage_of(parent, above, space, own_id)
        moment = now()
        due = time_of("scheduled_at", scheduled_at)
        since = time_of("enqueued_at", enqueued_at) or moment
        event: dict[str, Any] = {
            "namespace": space,
            "job_id": own_id,
            "worker": identifier(worker, WORKER_LIMIT) or "unknown",
            "queue": identifier(queue, QUEUE_LIMIT),
            "source": identifier(
                text_of(source) or (above.source if above is not None else ""), SOURCE_LIMIT
            ),
            "state": "scheduled" if due > moment else "available",
            "attempt": whole_number(attempt, 1, least=1),
            "max_attempts": whole_number(max_attempts, 0, least=0),
            "occurred_at": since,
            "enqueued_at": since,
            "scheduled_at": due,
            "parent_job_id": lineage.parent_job_id,
            "root_job_id": lineage.root_job_id,
            "depth": lineage.depth,
            "external_id": identifier(external_id, EXTERNAL_ID_LIMIT),
            "release": settings.release,
            "executor": settings.executor,
        }
        if args is not None:
            event["args"] = args_json(args, settings.redactor)
        # Each apart: one that cannot be used costs neither the event nor the others.
        for (name, fit), value in zip(_EXTRAS, (depends_on, meta, expect), strict=True):
            if value is not None:
                try:
                    event[name] = fit(value)
                except Exception as error:
                    _runtime.unusable(name, error)
        submit(event)
        return _header.write(_header.ticket_of(event))
    except Exception as error:
        _runtime.failed(error)
        return {}
