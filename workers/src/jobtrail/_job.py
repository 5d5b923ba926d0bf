"""A running job: what it knows of itself, and the events at its entry and its end.

`jobtrail.job(…)` makes a Job that is entered once for each attempt, or decorates a function so that each call is one.
Nothing here raises into the code it surrounds, and exceptions pass through it unchanged.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Self, TypedDict, TypeVar

from jobtrail import _header, _runtime
from jobtrail._classify import error_of
from jobtrail._context import Lineage, current_job
from jobtrail._contract import JobState
from jobtrail._errors import Cancel, Discard, Retry
from jobtrail._events import submit
from jobtrail._redact import args_json
from jobtrail._text import (
    CATEGORY_LIMIT,
    EXTERNAL_ID_LIMIT,
    FINGERPRINT_LIMIT,
    JOB_ID_LIMIT,
    MESSAGE_LIMIT,
    NAMESPACE_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    cut_end,
    describe,
    identifier,
    text_of,
)
from jobtrail._times import Time, micros, now

F = TypeVar("F", bound=Callable[..., Any])

_INT_MAX: Final = 2**31 - 1
_NAME_LIMITS: Final = {
    "namespace": NAMESPACE_LIMIT,
    "job_id": JOB_ID_LIMIT,
    "queue": QUEUE_LIMIT,
    "source": SOURCE_LIMIT,
    "external_id": EXTERNAL_ID_LIMIT,
}
_LEAST: Final = {"attempt": 1, "max_attempts": 0}
HEADERS_ARGUMENT: Final = "jobtrail_headers"
# What is given as a callable is called with the arguments of the decorated function.
PER_CALL: Final = (
    "job_id",
    "queue",
    "source",
    "external_id",
    "attempt",
    "max_attempts",
    "args",
    "headers",
    "depends_on",
    "meta",
)


class JobOptions(TypedDict, total=False):
    """What `jobtrail.job()` takes beside the worker. On a decorator, those marked * may be functions of the call."""

    job_id: str | Callable[..., str] | None
    """* Unique in the namespace; a random one when neither given nor in the headers."""
    queue: str | Callable[..., str]
    """* The queue it waited in."""
    source: str | Callable[..., str]
    """* Where the data comes from; the parent's when not given."""
    external_id: str | Callable[..., str]
    """* The thing being processed: movie:4711."""
    attempt: int | Callable[..., int]
    """* The number of this run, from 1; that of the headers when not given."""
    max_attempts: int | Callable[..., int]
    """* How many runs the job may have; a failure with none left is final. 0: not known, every failure is final."""
    args: Any
    """* Recorded as redacted JSON with the first event. On a decorator True records the call's arguments by name."""
    headers: Mapping[Any, Any] | Callable[..., Mapping[Any, Any]] | None
    """* The headers that `enqueued()` gave."""
    parent: "Job | str | None"
    """The job that spawned it, if not the current one; "" for a job that is a root wherever it runs."""
    depends_on: Sequence[str] | Callable[..., Sequence[str]]
    """* Jobs of the same run that had to finish first."""
    meta: Mapping[str, object] | Callable[..., Mapping[str, object]]
    """* Anything else, small."""
    expect: Mapping[str, int]
    """How many children of each kind it is going to spawn."""
    enqueued_at: datetime | int | None
    scheduled_at: datetime | int | None
    namespace: str
    """The system it belongs to, if not that of the settings."""


class Job:
    """One job. Enter it (``with`` or ``async with``) for an attempt; entered again, it is the next attempt.

    ``source``, ``external_id``, ``queue`` and ``meta`` may be set while it runs; the events that follow say so.
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
        self._said: tuple[JobState, dict[str, Any]] | None = None
        self._token: Token[Job | None] | None = None

    def __repr__(self) -> str:
        return f"<jobtrail.Job {self.worker} {self.job_id} attempt {self.attempt}>"

    # Said by the job itself.

    def expect(self, worker: str, count: int) -> None:
        """Say that this job is going to spawn ``count`` children of a kind; said again, the greater number counts."""
        try:
            self.expected[text_of(worker)] = int(count)
            if self._running:
                event = self._event("executing", self.started_at)
                event["expected_children"] = {text_of(worker): int(count)}
                submit(event)
        except Exception as error:
            unusable("expect()", error)

    def discard(self, category: str = "", message: str = "", *, fingerprint: str = "") -> None:
        """Say that this attempt failed for good. The job goes on; its end is reported as discarded."""
        self._say("discarded", category, message, fingerprint)

    def retry(self, category: str = "", message: str = "", *, fingerprint: str = "") -> None:
        """Say that this attempt failed and the job will be tried again. Its end is reported as retryable."""
        self._say("retryable", category, message, fingerprint)

    def cancel(self, message: str = "") -> None:
        """Say that the job is no longer wanted. Its end is reported as cancelled."""
        self._say("cancelled", "cancelled", message, "")

    def requeued(self, *, scheduled_at: Time = None, queue: str | None = None) -> dict[str, str]:
        """Say that the job waits for its next attempt, and give the headers to put beside it in its queue."""
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

    # Entry and end.

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
        """Decorate a function or a coroutine function: each call is a job of its own."""
        from jobtrail._decorate import decorate

        return decorate(function, self.worker, self._options)

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
            event["args"] = args_json(options["args"], settings.secret_pattern)
        if "depends_on" in options:
            try:
                depends_on: Any = options["depends_on"]
                event["depends_on"] = [text_of(item) for item in depends_on or ()]
            except Exception as error:
                unusable("depends_on", error)
        submit(event)

    def _resolve(self, namespace: str) -> None:
        options = self._options
        above = current_job.get()
        ticket = _read(options.get("headers")) if options else None
        if ticket is not None:
            self._take(ticket)
        else:
            self.namespace = namespace
            self.job_id = os.urandom(16).hex()
        for name, value in options.items():
            if value is not None:
                try:
                    self._set(name, value)
                except Exception as error:
                    unusable(name, error)
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

    def _set(self, name: str, value: Any) -> None:
        """Take one option. May raise whatever the value's own methods raise; the others are taken all the same."""
        if name in _NAME_LIMITS:
            text = identifier(value, _NAME_LIMITS[name])
            if text:
                setattr(self, name, text)
        elif name in _LEAST:
            setattr(self, name, whole_number(value, getattr(self, name), least=_LEAST[name]))
        elif name in ("enqueued_at", "scheduled_at"):
            setattr(self, name, micros(value))
        elif name == "meta":
            self.meta = dict(value)
        elif name == "expect":
            self.expected = {text_of(worker): int(count) for worker, count in value.items()}

    def _finish(self, error: BaseException | None) -> None:
        self._running = False
        if not self.job_id:
            return  # what made its start fail was counted
        if self._token is not None:
            try:
                current_job.reset(self._token)
            except ValueError:  # ended in another context than it began in, as async generators do
                current_job.set(self._token.old_value if self._token.old_value is not Token.MISSING else None)
            self._token = None
        state, said = self._outcome(error)
        # A clock that was set back must not make the job end before it began.
        event = self._event(state, max(now(), self.started_at))
        event["error"] = said
        if self.expected:
            event["expected_children"] = dict(self.expected)
        submit(event)

    def _outcome(self, error: BaseException | None) -> tuple[JobState, dict[str, Any] | None]:
        if error is None:
            return self._said or ("completed", None)
        settings = _runtime.config()
        found = error_of(error, settings.categories, settings.own_code)
        if self._said is None:
            return self._state_after(error), found
        state, said = self._said
        for name in ("category", "message", "fingerprint"):
            if said.get(name):
                found[name] = said[name]
        return state, found

    def _state_after(self, error: BaseException) -> JobState:
        if isinstance(
            error, Cancel | asyncio.CancelledError | KeyboardInterrupt | SystemExit | GeneratorExit
        ):
            return "cancelled"
        if isinstance(error, Discard):
            return "discarded"
        if isinstance(error, Retry) or self.attempt < self.max_attempts:
            return "retryable"
        return "discarded"

    def _say(self, state: JobState, category: str, message: str, fingerprint: str) -> None:
        try:
            frame = sys._getframe(2)
            origin = f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_qualname}"
            self._said = (
                state,
                {
                    "category": identifier(category, CATEGORY_LIMIT) or "error",
                    "message": cut_end(text_of(message), MESSAGE_LIMIT),
                    "origin": origin,
                    "fingerprint": identifier(fingerprint, FINGERPRINT_LIMIT),
                },
            )
        except Exception as error:
            _runtime.failed(error)

    def _event(self, state: JobState, occurred_at: int) -> dict[str, Any]:
        # Everything is repeated on every event: the pipeline's sums read the finishing one alone.
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
        if self.meta:
            event["meta"] = dict(self.meta)
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


def lineage_of(parent: "Job | str | None", above: Job | None, namespace: str, job_id: str) -> Lineage:
    """Give where a job stands. A parent of another namespace is none: job ids mean something only in their own."""
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


def whole_number(value: object, default: int, *, least: int) -> int:
    """Give an integer of the contract's range; what is none is the default."""
    try:
        return default if value is None else min(max(int(value), least), _INT_MAX)  # type: ignore[call-overload]  # anything may be given
    except (TypeError, ValueError, OverflowError):
        return default


def time_of(what: str, value: object) -> int:
    """Give a time in microseconds, 0 for one that cannot be used."""
    try:
        return micros(value)
    except Exception as error:
        unusable(what, error)
        return 0


def unusable(what: str, error: BaseException) -> None:
    """Say in the next report that something given was left out; the event itself went on."""
    _runtime.counts().drop("left_out", 1, f"{what}: {describe(error)}")


def _read(headers: Any) -> _header.Ticket | None:
    try:
        return _header.read(headers)
    except ValueError as error:
        _runtime.counts().drop("header", 1, str(error)[:300])
        return None
