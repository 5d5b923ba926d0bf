"""Decides which times of an event besides ``occurred_at`` are plausible, and guesses what a wrong one means.

Publishers send zero times of their language, milliseconds in a field of microseconds, and times of clocks that were never
set, in events that are otherwise right. An impossible time is read as 0, which means not known. The rule uses only the
event and no clock, so that stored state stays a function of the set of events. docs/event.md states it for publishers.
"""

from collections.abc import Callable
from typing import Final

from schemas.contract import OCCURRED_MAX, OCCURRED_MIN

_SECOND_US: Final = 1_000_000
_DAY_US: Final = 24 * 60 * 60 * _SECOND_US

AHEAD_US: Final = 5 * 60 * _SECOND_US
"""How far the clocks of two hosts may differ. A job is enqueued and started at most this long after ``occurred_at``."""
LONGEST_RUN_US: Final = 366 * _DAY_US
"""The longest plausible run of an attempt."""
FARTHEST_US: Final = 3_653 * _DAY_US
"""Ten years. A job was enqueued at most this long ago, and is scheduled at most this far away."""

LONGEST_MEASURED_US: Final = 30 * _DAY_US
"""The longest duration or wait in a histogram. A longer one is most likely a wrong clock, and would move a mean by days."""

OTHER_TIMES: Final = {
    "enqueued_at": "from ten years before occurred_at to 5 minutes after it",
    "scheduled_at": "from ten years before occurred_at to ten years after it",
    "started_at": "from 366 days before occurred_at to 5 minutes after it",
}
"""Field to its range, in words."""

_ZEROS: Final = (
    (-62_135_596_800_000_000, "the zero time of Go and .NET"),
    (-11_644_473_600_000_000, "the zero time of Windows"),
    (-2_208_988_800_000_000, "the zero time of NTP"),
    (-2_209_161_600_000_000, "the zero time of spreadsheets"),
    (315_532_800_000_000, "the zero time of DOS"),
    (315_964_800_000_000, "the zero time of GPS"),
    (946_684_800_000_000, "the zero time of Postgres"),
    (978_307_200_000_000, "the zero time of Apple's Cocoa"),
    (253_402_300_799_999_999, "the greatest time of .NET and Python"),
)
_COUNTS: Final[tuple[tuple[Callable[[int], int], str], ...]] = (
    (lambda time: time * 1_000, "milliseconds"),
    (lambda time: time * 1_000_000, "seconds"),
    (lambda time: time // 1_000, "nanoseconds"),
    (lambda time: time // 10 - 11_644_473_600_000_000, "Windows' file time"),
    (lambda time: time // 10 - 62_135_596_800_000_000, "ticks of .NET"),
    (lambda time: time + 946_684_800_000_000, "microseconds since 2000"),
)
"""Functions that convert other ways of counting to microseconds since 1970, and the names of these ways."""

_FARTHEST_ZONE_US: Final = 14 * 60 * 60 * _SECOND_US
_NEAR_US: Final = 2 * _DAY_US
"""How far a zero time may be off, because of a time zone or because it was cut to whole days."""


def known_times(
    occurred_at: int, enqueued_at: int, scheduled_at: int, started_at: int
) -> tuple[int, int, int]:
    """Return the last three times, with 0 (not known) for each impossible one. In microseconds since 1970."""
    if enqueued_at and not -FARTHEST_US <= enqueued_at - occurred_at <= AHEAD_US:
        enqueued_at = 0
    if scheduled_at and not -FARTHEST_US <= scheduled_at - occurred_at <= FARTHEST_US:
        scheduled_at = 0
    if started_at and not -LONGEST_RUN_US <= started_at - occurred_at <= AHEAD_US:
        started_at = 0
    return enqueued_at, scheduled_at, started_at


def likely_mistake(time_us: int, near_us: int | None = None) -> str:
    """Return what an impossible time probably is, in words; '' if nothing fits.

    ``near_us``: the event's ``occurred_at``; None if the time is ``occurred_at`` itself.
    """
    if near_us is None:
        least, most = OCCURRED_MIN, OCCURRED_MAX
    else:
        least, most = near_us - FARTHEST_US, near_us + FARTHEST_US
    for zero, name in _ZEROS:
        if abs(time_us - zero) <= _NEAR_US:
            return f"{name}; a time that is not known is 0"
    for to_micros, name in _COUNTS:
        if least <= to_micros(time_us) <= most:
            return f"{name} in a field of microseconds since 1970"
    if abs(time_us) <= _NEAR_US:
        return "the zero time of Unix; a time that is not known is 0"
    if near_us is not None and AHEAD_US < time_us - near_us <= _FARTHEST_ZONE_US:
        return "local time instead of UTC"
    return ""
