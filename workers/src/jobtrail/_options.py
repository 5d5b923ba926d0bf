"""What one may say of a job when it is made, and how each of it is made fit for an event.

Pure but for the reading of headers, which counts those that cannot be read. Which option wins over which, and where a
job stands among the others, is decided in `_job.py`.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypedDict

from jobtrail import _header, _runtime
from jobtrail._text import (
    EXTERNAL_ID_LIMIT,
    JOB_ID_LIMIT,
    NAMESPACE_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    identifier,
    text_of,
)
from jobtrail._times import micros

if TYPE_CHECKING:
    from jobtrail._job import Job

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


def take(job: "Job", name: str, value: Any) -> None:
    """Set what one option says of a job; a name that is empty and a number that is none leave what was known.

    May raise whatever the value's own methods raise.
    """
    if name in _NAME_LIMITS:
        text = identifier(value, _NAME_LIMITS[name])
        if text:
            setattr(job, name, text)
    elif name in _LEAST:
        setattr(job, name, whole_number(value, getattr(job, name), least=_LEAST[name]))
    elif name in ("enqueued_at", "scheduled_at"):
        setattr(job, name, micros(value))
    elif name == "meta":
        job.meta = dict(value)
    elif name == "expect":
        job.expected = {text_of(worker): int(count) for worker, count in value.items()}


def read_headers(headers: Any) -> _header.Ticket | None:
    """Give what the headers say, None where they say nothing; ones that cannot be read are counted."""
    try:
        return _header.read(headers)
    except ValueError as error:
        _runtime.counts().drop("header", 1, str(error)[:300])
        return None


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
        _runtime.unusable(what, error)
        return 0
