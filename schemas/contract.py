"""The contract in Python: the schema's text, the states with their ranks, and the limits of a valid event.

Elsewhere: decoding (``decode``), how the schema may change (``evolution``), which times are plausible (``times``).
"""

import json
from importlib.resources import files
from typing import Any, Final, NamedTuple


class Event(NamedTuple):
    """One decoded event: the fields of the Avro record, in its order. Times are integer microseconds since 1970 UTC.

    A value that is not known is "", 0, or -1 for depth. ``error`` has the fields of the inner record as keys. An event is
    a tuple because there are tens of thousands a second: a dict takes twice as long to make, read and free.
    """

    namespace: str
    job_id: str
    worker: str
    queue: str
    state: str
    attempt: int
    occurred_at: int
    source: str = ""
    max_attempts: int = 0
    enqueued_at: int = 0
    scheduled_at: int = 0
    started_at: int = 0
    parent_job_id: str = ""
    root_job_id: str = ""
    depth: int = -1
    depends_on: list[str] = []  # noqa: RUF012  # events are never changed
    expected_children: dict[str, int] = {}  # noqa: RUF012
    external_id: str = ""
    error: dict[str, str] | None = None
    release: str = ""
    executor: str = ""
    args: str = ""
    meta: dict[str, str] = {}  # noqa: RUF012


SCHEMA_TEXT: Final = files("schemas").joinpath("job_event.avsc").read_text(encoding="utf-8")
SCHEMA: Final[dict[str, Any]] = json.loads(SCHEMA_TEXT)

RANKS: Final[dict[str, int]] = {
    "suspended": 0,
    "scheduled": 0,
    "available": 0,
    "executing": 1,
    "retryable": 2,
    "cancelled": 3,
    "discarded": 4,
    "completed": 5,
}
"""State to rank. Within one attempt the greater rank is the later state; waiting states share a rank, so time decides."""

STATES: Final = tuple(RANKS)
WAITING: Final = frozenset({"suspended", "scheduled", "available"})
FINISHED: Final = frozenset({"retryable", "cancelled", "discarded", "completed"})
FAILURES: Final = frozenset({"retryable", "discarded"})

# Bytes of UTF-8. With these, every index entry stays below the 2,704 bytes that a Postgres B-tree can hold.
NAMESPACE_BYTES: Final = 200
JOB_ID_BYTES: Final = 500
WORKER_BYTES: Final = 300
QUEUE_BYTES: Final = 200
SOURCE_BYTES: Final = 300
BYTES: Final[dict[str, int]] = {
    "namespace": NAMESPACE_BYTES,
    "job_id": JOB_ID_BYTES,
    "worker": WORKER_BYTES,
    "queue": QUEUE_BYTES,
    "source": SOURCE_BYTES,
    "parent_job_id": JOB_ID_BYTES,
    "root_job_id": JOB_ID_BYTES,
}
"""Field to its limit in bytes of UTF-8."""

ERROR_TEXTS: Final = ("category", "type", "message", "stacktrace", "origin", "fingerprint")
"""The fields of the record in ``error``."""

REQUIRED_TEXT: Final = ("namespace", "job_id", "worker")
"""Fields that must not be empty."""

MAP_ENTRIES: Final = 1_000
"""Most entries of depends_on, expected_children and meta in one event."""

INT_MAX: Final = 2**31 - 1

# Years 1 to 9999: what both Postgres and Python's datetime can hold. In microseconds since 1970 UTC.
TIME_MIN: Final = -62_135_596_800_000_000
TIME_MAX: Final = 253_402_300_799_999_999

# An event outside these years has a clock that was never set (1970), or a time that is not in microseconds. The bounds are
# fixed and not "near now", so that what is stored depends on the events alone.
OCCURRED_MIN: Final = 946_684_800_000_000
"""2000-01-01 in UTC, in microseconds since 1970. An event that says it occurred earlier is refused."""
OCCURRED_MAX: Final = 4_102_444_799_999_999
"""The last microsecond of 2099 in UTC. An event that says it occurred later is refused."""

EVENT_BYTES: Final = 5 * 1024 * 1024
"""Most bytes of one encoded event: Pulsar's default limit for one message."""
