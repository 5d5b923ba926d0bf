"""Times as events carry them: microseconds since 1970 in UTC, 0 when not known."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

Time = datetime | int | None
"""A datetime with a time zone, or microseconds since 1970; None means not known."""

# The years 1 to 9999, which both datetime and Postgres can hold.
LEAST: Final = -62_135_596_800_000_000
MOST: Final = 253_402_300_799_999_999
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


def now() -> int:
    return time.time_ns() // 1000


def micros(value: object) -> int:
    """Return a time in microseconds since 1970.

    Raises ValueError, with the cure, for a datetime without a time zone and for a value that is not a time.
    """
    if value is None:
        return 0
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value!r} has no time zone: give datetime(…, tzinfo=UTC) or .astimezone()")
        return (value - _EPOCH) // _MICROSECOND
    if type(value) is int and LEAST <= value <= MOST:
        return value
    raise ValueError(
        f"{value!r:.60} is not a time: give a datetime with a time zone, or microseconds since 1970"
    )
