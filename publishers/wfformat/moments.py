"""Read points in time, in any form that WfFormat files use."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

FORMS = (
    "2020-12-28T16:54:52+00:00, 20200408T173533+0000, 03-23-21T05:57:32Z (month, day, year), "
    "Mon, 28 Dec 2020 16:54:52 GMT, or seconds since 1970"
)
"""The accepted forms, for messages."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS_BELOW = ((1.0, 1e11), (1e3, 1e14), (1e6, 1e17), (1e9, 1e20))
"""How many of a unit make a second, and the number below which that unit is meant (for seconds, the year 5138)."""

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
    """Return a point in time in UTC, or None when the value has none of the accepted forms. Without an offset it is UTC.

    The forms are: ISO 8601, extended or basic, also with a blank instead of the T, with UTC by name, or with
    slashes after the year; month, day and year of two digits; a date with the month's name (RFC 2822, ctime); a
    number since 1970, in seconds, milliseconds, microseconds or nanoseconds, depending on its size.
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
    ):  # no such form or day, or an offset that leads out of the years 1 to 9999
        return None


def _parsed(text: str) -> datetime | None:
    """Parse a text by the form that it looks like. Raises ValueError when it has none of the forms."""
    if _DATE_AND_TIME.fullmatch(text):
        return datetime.strptime(text, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    if _NUMBER.fullmatch(text) and not _DATE.fullmatch(text):
        return _since_1970(float(text))
    dated = _UTC_NAME.sub("+00:00", _YEAR_FIRST.sub(_with_hyphens, text)).replace("t", "T")
    try:
        return datetime.fromisoformat(dated)
    except ValueError:
        words = _WORD.findall(text)
        # parsedate_to_datetime takes a zone's name that it does not know for UTC.
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
