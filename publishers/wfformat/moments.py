"""Points in time as WfFormat files write them, in UTC."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FORMS = (
    "2020-12-28T16:54:52+00:00, 20200408T173533+0000, 03-23-21T05:57:32Z (month, day, year), "
    "Mon, 28 Dec 2020 16:54:52 GMT, or seconds since 1970"
)
"""The forms that are read, for messages."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_BELOW = ((1.0, 1e11), (1e3, 1e14), (1e6, 1e17), (1e9, 1e20))
"""How many of a unit make a second, and below which number it is that unit: seconds reach to the year 5138."""

_NUMBER = re.compile(r"\d+(\.\d*)?")
_DATE = re.compile(r"\d{8}")
_DATE_AND_TIME = re.compile(r"(19|20)\d{12}")
_WORD = re.compile(r"[^\W\d_]+")
_DATE_WORD = re.compile(
    r"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mon|tue|wed|thu|fri|sat|sun)[a-z]*|utc|gmt|ut",
    re.IGNORECASE,
)
_YEAR_FIRST = re.compile(r"(\d{4})/(\d{1,2})/(\d{1,2})")
_UTC_NAME = re.compile(r"\s*(z|utc|gmt)$", re.IGNORECASE)


def moment(value: object) -> datetime | None:
    """Return the moment in UTC; None when it is in none of the forms that occur. Without an offset it is UTC.

    The forms are ISO 8601, extended or basic, also with a blank for the T, a named UTC or slashes after a year; month,
    day and year of two digits; a date with the month's name (RFC 2822, ctime); and a number since 1970, whose size says
    whether it counts seconds, milliseconds, microseconds or nanoseconds.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    try:
        parsed = _parsed(str(value).strip())
        if parsed is None or parsed.tzinfo is not None:
            return parsed and parsed.astimezone(UTC)
        return parsed.replace(tzinfo=UTC)
    except (
        ValueError,
        OverflowError,
    ):  # no such form or day; or an offset that leads out of the years 1 to 9999
        return None


def _parsed(text: str) -> datetime | None:
    """Read one form, which the text's look decides. Raises ValueError when it is none of them."""
    if _DATE_AND_TIME.fullmatch(text):
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if _NUMBER.fullmatch(text) and not _DATE.fullmatch(text):
        return _since_1970(float(text))
    dated = _UTC_NAME.sub("+00:00", _YEAR_FIRST.sub(_with_hyphens, text)).replace("t", "T")
    try:
        return datetime.fromisoformat(dated)
    except ValueError:
        words = _WORD.findall(text)
        # A zone's name that is not UTC would be read as UTC.
        if words and all(map(_DATE_WORD.fullmatch, words)):
            return parsedate_to_datetime(text)
        return datetime.strptime(dated, "%m-%d-%yT%H:%M:%S%z")


def _with_hyphens(date: re.Match[str]) -> str:
    return f"{date[1]}-{int(date[2]):02}-{int(date[3]):02}"


def _since_1970(number: float) -> datetime | None:
    for per_second, most in _UNITS_BELOW:
        if number < most:
            return _EPOCH + timedelta(seconds=number / per_second)
    return None
