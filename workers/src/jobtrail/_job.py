"""A running job: its fields, and the events at its start and its end.

`jobtrail.job(…)` makes a Job that is entered once for each attempt, or decorates a function so that each call is a
job. Nothing here raises into the code it surrounds, and exceptions pass through unchanged.
"""

import os
import sys
from collections.abc import Callable
from contextvars import Token
from types import TracebackType
from typing import Any, Self, TypeVar, cast

from jobtrail import _header, _runtime
from jobtrail._context import Lineage, ParentJob, current_job
from jobtrail._contract import JobState
from jobtrail._decorate import decorate
from jobtrail._events import submit
from jobtrail._options import JobOptions, attributes_of, read_headers, time_of
from jobtrail._outcome import COMPLETED, Outcome, raised, said
from jobtrail._redact import args_json
from jobtrail._text import (
    EXTERNAL_ID_LIMIT,
    JOB_ID_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    identifier,
    text_of,
)
from jobtrail._times import Time, now

F = TypeVar("F", bound=Callable[..., Any])


def current() -> "Job | None":
    """Return the job that runs here, or None outside a job."""
    return cast("Job | None", current_job.get())


class Job:
    """One job. Enter it (``with`` or ``async with``) for an attempt; enter it again for the next attempt.

    ``source``, ``external_id``, ``queue`` and ``meta`` may be set while it runs; later events have the new values.
    """

    def __init__(self, worker: str = "", options: JobOptions | None = None) -> None:
        self._options: JobOptions = options or {}
        self.worker = worker
        self.namespace = ""
        self.job_id = ""
        self.queue = ""
        self.source = ""
        self.external_id = ""
        self.attempt = 1
        self.max_attempts = 0
        self.lineage = Lineage()
        self.meta: dict[str, str] = {}
        self.expected: dict[str, int] = {}
        self.enqueued_at = 0
        self.scheduled_at = 0
        self.started_at = 0
        self._release = ""
        self._executor = ""
        self._running = False
        self._said: Outcome | None = None
        self._token: Token[ParentJob | None] | None = None

    def __repr__(self) -> str:
        return f"<jobtrail.Job {self.worker} {self.job_id} attempt {self.attempt}>"

    # Called by the job's own code.

    def expect(self, worker: str, count: int) -> None:
        """Announce that this job will spawn ``count`` children of a worker. Of several calls the greatest counts."""
        try:
            self.expected[text_of(worker)] = int(count)
            if self._running:
                event = self._event("executing", self.started_at)
                event["expected_children"] = {text_of(worker): int(count)}
                submit(event)
        except Exception as error:
            _runtime.unusable("expect()", error)

    def discard(self, category: str = "", message: str = "", *, fingerprint: str = "") -> None:
        """Mark this attempt as failed for good. The job goes on; its end is reported as discarded."""
        self._say("discarded", category, message, fingerprint)

    def retry(self, category: str = "", message: str = "", *, fingerprint: str = "") -> None:
        """Mark this attempt as failed, with a retry to come. Its end is reported as retryable."""
        self._say("retryable", category, message, fingerprint)

    def cancel(self, message: str = "") -> None:
        """Mark the job as no longer wanted. Its end is reported as cancelled."""
        self._say("cancelled", "cancelled", message, "")

    def requeued(self, *, scheduled_at: Time = None, queue: str | None = None) -> dict[str, str]:
        """Record that the job waits for its next attempt; return the headers to put beside it in its queue."""
        try:
            moment = now()
            due = time_of("scheduled_at", scheduled_at)
            ticket = self._ticket()._replace(
                attempt=self.attempt + 1, enqueued_at=moment, scheduled_at=due, queue=queue or self.queue
            )
            event = self._event("scheduled" if due > moment else "available", moment)
            event.update(
                attempt=ticket.attempt, enqueued_at=moment, scheduled_at=due, started_at=0, queue=ticket.queue
            )
            submit(event)
            return _header.write(ticket)
        except Exception as error:
            _runtime.failed(error)
            return {}

    # Start and end.

    def __enter__(self) -> Self:
        try:
            self._start()
        except Exception as error:
            _runtime.failed(error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish(error)
        except Exception as problem:
            _runtime.failed(problem)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    def __call__(self, function: F) -> F:
        """Decorate a function or a coroutine function: each call is a job."""
        return decorate(function, self.worker, self._options, Job)

    def _start(self) -> None:
        settings = _runtime.config()
        if self.started_at:
            self.attempt += 1
            self._said = None
        else:
            self._release, self._executor = settings.release, settings.executor
            self._resolve(settings.namespace)
        self._token = current_job.set(self)
        self._running = True
        self.started_at = now()
        event = self._event("executing", self.started_at)
        if self.expected:
            event["expected_children"] = dict(self.expected)
        options = self._options
        if "args" in options and options["args"] is not None:
            event["args"] = args_json(options["args"], settings.redactor)
        if "depends_on" in options:
            try:
                depends_on: Any = options["depends_on"]
                event["depends_on"] = [text_of(item) for item in depends_on or ()]
            except Exception as error:
                _runtime.unusable("depends_on", error)
        submit(event)

    def _resolve(self, namespace: str) -> None:
        options = self._options
        above = current_job.get()
        ticket = read_headers(options.get("headers")) if options else None
        if ticket is not None:
            self._take(ticket)
        else:
            self.namespace = namespace
            self.job_id = os.urandom(16).hex()
        for name, value in options.items():
            if value is not None:
                try:
                    for attribute, fit in attributes_of(name, value, vars(self)).items():
                        setattr(self, attribute, fit)
                except Exception as error:
                    _runtime.unusable(name, error)
        self.worker = identifier(self.worker, WORKER_LIMIT) or "unknown"
        if ticket is None or ticket.job_id != self.job_id:
            self.lineage = lineage_of(options.get("parent"), above, self.namespace, self.job_id)
        if not self.source and above is not None:
            self.source = above.source

    def _take(self, ticket: _header.Ticket) -> None:
        self.namespace, self.job_id = ticket.namespace, ticket.job_id
        self.worker = self.worker or ticket.worker
        self.queue, self.source, self.external_id = ticket.queue, ticket.source, ticket.external_id
        self.attempt, self.max_attempts = ticket.attempt, ticket.max_attempts
        self.enqueued_at, self.scheduled_at = ticket.enqueued_at, ticket.scheduled_at
        self.lineage = Lineage(ticket.parent_job_id, ticket.root_job_id, ticket.depth)

    def _finish(self, error: BaseException | None) -> None:
        self._running = False
        if not self.job_id:
            return  # its start failed, and was counted
        if self._token is not None:
            try:
                current_job.reset(self._token)
            except ValueError:  # it ended in another context than it began in, as in async generators
                current_job.set(self._token.old_value if self._token.old_value is not Token.MISSING else None)
            self._token = None
        if error is None:
            outcome = self._said or COMPLETED
        else:
            outcome = raised(error, self._said, self.attempt, self.max_attempts, _runtime.config())
        # When the clock was set back, the job must still not end before it began.
        event = self._event(outcome.state, max(now(), self.started_at))
        event["error"] = outcome.error
        if self.expected:
            event["expected_children"] = dict(self.expected)
        submit(event)

    def _say(self, state: JobState, category: str, message: str, fingerprint: str) -> None:
        try:
            self._said = said(state, category, message, fingerprint, sys._getframe(2))
        except Exception as error:
            _runtime.failed(error)

    def _event(self, state: JobState, occurred_at: int) -> dict[str, Any]:
        # Every event repeats everything: the pipeline's aggregates read only the finishing one.
        parent, root, depth = self.lineage
        event: dict[str, Any] = {
            "namespace": self.namespace,
            "job_id": self.job_id,
            "worker": self.worker,
            "queue": self.queue,
            "source": self.source,
            "state": state,
            "attempt": self.attempt,
            "max_attempts": self.max_attempts,
            "occurred_at": occurred_at,
            "enqueued_at": self.enqueued_at,
            "scheduled_at": self.scheduled_at,
            "started_at": self.started_at,
            "parent_job_id": parent,
            "root_job_id": root,
            "depth": depth,
            "external_id": self.external_id,
            "release": self._release,
            "executor": self._executor,
        }
        # The job may have set any value; that must not cost the event.
        try:
            if self.meta:
                event["meta"] = dict(self.meta)
        except Exception as error:
            _runtime.unusable("meta", error)
        return event

    def _ticket(self) -> _header.Ticket:
        return _header.Ticket(
            namespace=self.namespace,
            job_id=self.job_id,
            worker=self.worker,
            queue=identifier(self.queue, QUEUE_LIMIT),
            source=identifier(self.source, SOURCE_LIMIT),
            external_id=identifier(self.external_id, EXTERNAL_ID_LIMIT),
            parent_job_id=self.lineage.parent_job_id,
            root_job_id=self.lineage.root_job_id,
            depth=self.lineage.depth,
            attempt=self.attempt,
            max_attempts=self.max_attempts,
            enqueued_at=self.enqueued_at,
            scheduled_at=self.scheduled_at,
        )


def lineage_of(
    parent: ParentJob | str | None, above: ParentJob | None, namespace: str, job_id: str
) -> Lineage:
    """Return a job's lineage. A parent in another namespace is ignored: a job id is unique only in its namespace."""
    if parent is None or isinstance(parent, Job):
        above = parent or above
        if above is None or above.namespace != namespace or not above.job_id:
            return Lineage("", job_id, 0)
        if above.job_id == job_id:
            return above.lineage
        _, root, depth = above.lineage
        return Lineage(above.job_id, root, depth + 1 if depth >= 0 else -1)
    parent_id = identifier(parent, JOB_ID_LIMIT)
    if not parent_id or parent_id == job_id:
        return Lineage("", job_id, 0)
    return Lineage(parent_id, "", -1)
