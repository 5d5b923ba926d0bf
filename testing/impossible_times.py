"""Wrong times that publishers send with a correct ``occurred_at``: functions from that to microseconds since 1970."""

from collections.abc import Callable
from typing import Final

_YEAR_US: Final = 366 * 24 * 60 * 60 * 1_000_000
_UNIX_TO_WINDOWS_US: Final = 11_644_473_600_000_000
_UNIX_TO_2000_US: Final = 946_684_800_000_000

IMPOSSIBLE_TIMES: Final[dict[str, Callable[[int], int]]] = {
    "the zero time of Go and .NET": lambda _at: -62_135_596_800_000_000,
    "the zero time of Windows": lambda _at: -_UNIX_TO_WINDOWS_US,
    "the year 1900": lambda _at: -2_208_988_800_000_000,
    "minus one": lambda _at: -1,
    "one second": lambda _at: 1_000_000,
    "the greatest time of .NET": lambda _at: 253_402_300_799_999_999,
    "milliseconds": lambda at: at // 1_000,
    "seconds": lambda at: at // 1_000_000,
    "Windows' file time": lambda at: 10 * (at + _UNIX_TO_WINDOWS_US),
    "microseconds since 2000": lambda at: at - _UNIX_TO_2000_US,
    "eleven years before": lambda at: at - 11 * _YEAR_US,
    "eleven years after": lambda at: at + 11 * _YEAR_US,
}
