"""The options of a job, and how each is made to fit an event.

Options that cannot be used are counted. `_job.py` decides which option wins, and the job's lineage.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, TypedDict

from jobtrail import _header, _runtime
from jobtrail._context import ParentJob
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
# When one of these is callable, it is called with the arguments of the decorated function.
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
    """The options of `jobtrail.job()`. On a decorator, those marked * may be functions of the call's arguments."""

    job_id: str | Callable[..., str] | None
    """* Unique in the namespace. Default: the headers' job id, else a random one."""
    queue: str | Callable[..., str]
    """* The queue the job waited in."""
    source: str | Callable[..., str]
    """* Where the data comes from. Default: the current job's source."""
    external_id: str | Callable[..., str]
    """* The thing the job is about, such as movie:4711."""
    attempt: int | Callable[..., int]
    """* The number of this attempt, from 1. Default: the headers' attempt."""
    max_attempts: int | Callable[..., int]
    """* How many attempts the job may have; a failure of the last is final. 0: not known, every failure is final."""
    args: Any
    """* Recorded as redacted JSON with the first event. On a decorator True records the call's arguments by name."""
    headers: Mapping[Any, Any] | Callable[..., Mapping[Any, Any]] | None
    """* The headers that `enqueued()` returned."""
    parent: ParentJob | str | None
    """The Job or the job id that spawned it, if not the current one; "" makes it a root, even inside another job."""
    depends_on: Sequence[str] | Callable[..., Sequence[str]]
    """* Job ids of the same run that had to finish first."""
    meta: Mapping[str, object] | Callable[..., Mapping[str, object]]
    """* Anything else, if small."""
    expect: Mapping[str, int]
    """How many children it will spawn, by worker."""
    enqueued_at: datetime | int | None
    scheduled_at: datetime | int | None
    namespace: str
    """The job's namespace, if not the setting's."""


def attributes_of(name: str, value: Any, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return the attributes of a Job that one option sets. An empty name sets none.

    ``numbers``: what attempt and max_attempts stay at if the value is not a number. Raises any error that the value's own methods raise.
    """
    if name in _NAME_LIMITS:
        text = identifier(value, _NAME_LIMITS[name])
        return {name: text} if text else {}
    if name in _LEAST:
        return {name: whole_number(value, numbers[name], least=_LEAST[name])}
    if name in ("enqueued_at", "scheduled_at"):
        return {name: micros(value)}
    if name == "meta":
        return {"meta": dict(value)}
    if name == "expect":
        return {"expected": {text_of(worker): int(count) for worker, count in value.items()}}
    return {}


def read_headers(headers: Any) -> _header.Ticket | None:
    """Return the headers' ticket, or None when there is none; a header that cannot be read is counted."""
    try:
        return _header.read(headers)
    except ValueError as error:
        _runtime.counts().drop("header", 1, str(error)[:300])
        return None


def whole_number(value: object, default: int, *, least: int) -> int:
    """Return an integer in the contract's range; the default when the value is not a number."""
    try:
        return default if value is None else min(max(int(value), least), _INT_MAX)  # type: ignore[call-overload]  # anything may be given
    except (TypeError, ValueError, OverflowError):
        return default


def time_of(what: str, value: object) -> int:
    """Return a time in microseconds; 0, and count it, when it cannot be used."""
    try:
        return micros(value)
    except Exception as error:
        _runtime.unusable(what, error)
        return 0
