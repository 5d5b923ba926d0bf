"""Publishes one event at a time, with any field of the record. For bridges and imports; jobs use `job()`."""

from collections.abc import Mapping
from typing import Any, Final

from jobtrail import _runtime
from jobtrail._contract import STATES, JobError, JobEvent
from jobtrail._errors import InvalidEvent
from jobtrail._redact import args_json
from jobtrail._sender import EVENT_BYTES
from jobtrail._stack import size_of
from jobtrail._text import ARGS_LIMIT, redacted, show
from jobtrail._times import micros, now

DEPENDENCIES_AT_ONCE: Final = 1_000
_INT_MAX: Final = 2**31 - 1
_REQUIRED: Final = ("job_id", "worker", "state")
_TIMES: Final = frozenset({"occurred_at", "enqueued_at", "scheduled_at", "started_at"})
_INTEGERS: Final = {"attempt": 1, "max_attempts": 0, "depth": -1}
_TEXTS: Final = frozenset(
    {
        "namespace",
        "job_id",
        "worker",
        "queue",
        "source",
        "parent_job_id",
        "root_job_id",
        "external_id",
        "release",
        "executor",
    }
)
_FIELDS: Final = frozenset(JobEvent.__annotations__)
_ERROR_FIELDS: Final = frozenset(JobError.__annotations__)


def event(*, strict: bool = False, **fields: object) -> bool:
    """Publish one event; return whether it was taken for sending.

    ``job_id``, ``worker`` and ``state`` are required; the other fields are those of the record. The settings give
    ``namespace``, ``release`` and ``executor`` their defaults; ``attempt`` is 1 and ``occurred_at`` is now by default.
    Times are datetimes with a time zone, or microseconds since 1970. ``args`` may be anything (recorded as redacted
    JSON). ``error`` is a dict of category, type, message, stacktrace, origin, fingerprint. The lineage is not guessed:
    pass parent, root and depth (a root has its own id as root, and depth 0).

    An event that cannot be used is dropped, counted and logged, and False is returned. With ``strict``, InvalidEvent
    is raised instead; it names the field, the value and the cure.
    """
    try:
        record = _record(fields)
    except InvalidEvent as error:
        if strict:
            raise
        _runtime.counts().drop("invalid", 1, str(error)[:300])
        return False
    except Exception as error:
        _runtime.failed(error)
        return False
    return submit(record)


def submit(record: dict[str, Any]) -> bool:
    """Hand a record to the sender; as several events when it depends on more jobs than one event may name."""
    size = EVENT_BYTES + len(record.get("args", ""))
    error = record.get("error")
    if error is not None:
        size += len(error.get("message", "")) + size_of(error.get("stacktrace", ""))
    size += 40 * len(record.get("expected_children", ()))
    depends_on = record.get("depends_on")
    if not depends_on:
        return _runtime.submit(record, size)
    taken = True
    for start in range(0, len(depends_on), DEPENDENCIES_AT_ONCE):
        piece = {**record, "depends_on": depends_on[start : start + DEPENDENCIES_AT_ONCE]}
        taken = _runtime.submit(piece, size + 40 * len(piece["depends_on"])) and taken
    return taken


def _record(fields: Mapping[str, Any]) -> dict[str, Any]:
    if not _FIELDS.issuperset(fields):
        unknown = min(fields.keys() - _FIELDS)
        raise InvalidEvent(f"{unknown}: no such field; there are {', '.join(sorted(_FIELDS))}")
    for name in _REQUIRED:
        if not fields.get(name):
            raise InvalidEvent(f"{name} is {show(fields.get(name))}: an event needs one, give it")
    settings = _runtime.config()
    record: dict[str, Any] = {
        "namespace": settings.namespace,
        "queue": "",
        "attempt": 1,
        "release": settings.release,
        "executor": settings.executor,
    }
    for name, value in fields.items():
        if type(value) is str and name in _TEXTS:
            record[name] = value  # most fields
        elif value is not None:
            record[name] = _value(name, value)
    record.setdefault("occurred_at", now())
    return record


def _value(name: str, value: Any) -> Any:
    if name in _TEXTS:
        if not isinstance(value, str):
            raise InvalidEvent(f"{name} is {show(value)}: expected a string, give str(…)")
        return value
    if name == "state":
        if value not in STATES:
            raise InvalidEvent(f"state is {show(value)}: give one of {', '.join(STATES)}")
        return str(value)
    if name in _TIMES:
        try:
            return micros(value)
        except ValueError as error:
            raise InvalidEvent(f"{name}: {error}") from None
    if name in _INTEGERS:
        least = _INTEGERS[name]
        if type(value) is not int or not least <= value <= _INT_MAX:
            raise InvalidEvent(f"{name} is {show(value)}: give an integer from {least} to {_INT_MAX}")
        return value
    if name == "args":
        redactor = _runtime.config().redactor
        return redacted(value, ARGS_LIMIT, redactor) if isinstance(value, str) else args_json(value, redactor)
    return _nested(name, value)


def _nested(name: str, value: Any) -> Any:
    if name == "depends_on":
        if isinstance(value, str) or not all(isinstance(item, str) for item in value):
            raise InvalidEvent(f"depends_on is {show(value)}: give a list of job ids, each a string")
        return [item for item in value if item]
    if not isinstance(value, Mapping):
        raise InvalidEvent(f"{name} is {show(value)}: give a dict")
    if name == "expected_children":
        for worker, count in value.items():
            if type(count) is not int or not 0 <= count <= _INT_MAX:
                raise InvalidEvent(
                    f"expected_children[{show(worker)}] is {show(count, 40)}: give an integer from 0"
                )
    if name == "error":
        unknown = sorted(str(key) for key in value.keys() - _ERROR_FIELDS)
        if unknown:
            raise InvalidEvent(
                f"error[{unknown[0]!r}]: no such field; there are {', '.join(sorted(_ERROR_FIELDS))}"
            )
        return {key: text if isinstance(text, str) else str(text) for key, text in value.items()}
    return {str(key): item for key, item in value.items()}
