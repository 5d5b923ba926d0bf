"""Parses the times that options take: an age, or a point in time in the past.

A time in the future is refused because it does harm: nothing has happened since then, so `verify` would find no differences,
and everything was published before then, so `purge` would delete everything. The present is refused for the same reason.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import click

from settings.durations import UNIT_SECONDS, duration_seconds, has_sign, meant_duration, plain_text

EXPECTED: Final = "how long ago (30m, 24h, 7d) or a time (2026-11-22T20:51:03Z)"

_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d(?:[Tt ](?P<hour>\d\d):\d\d(?::\d\d(?:\.\d{1,9})?)?(?:[Zz]|[+-]\d\d(?::?\d\d)?)?)?",
    re.ASCII,
)
_MIDNIGHT: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]24:00(?::00(?:\.0+)?)?([Zz]|[+-]\d\d(?::?\d\d)?|)", re.ASCII
)
_FRACTION: Final = re.compile(r"(\.\d{6})\d+", re.ASCII)
_SHOWN_CHARACTERS: Final = 60
# Seconds and milliseconds since 1970, for the years 2001 to 2286.
_EPOCH_SECONDS: Final = range(10**9, 10**10)
_EPOCH_MILLISECONDS: Final = range(10**12, 10**13)


class PastTime(click.ParamType[datetime]):
    """A point in time that has passed: how long ago (30m, 24h, 7d), or a time in RFC 3339. Without a zone it is UTC."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            return past_time(value, datetime.now(UTC))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Seconds(click.ParamType[float]):
    """A length of time up to a limit: 90, 90s or 2m. A number without a unit is seconds."""

    name = "seconds"

    def __init__(self, longest: float) -> None:
        self._longest = longest

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        seconds = duration_seconds(f"{value}s" if value[-1:].isdigit() else value)
        if seconds is None or not 0 < seconds <= self._longest:
            self.fail(
                f"expected seconds, more than 0 and at most {self._longest:g}, such as 90, 90s or 2m; got {_quoted(value)}",
                param,
                ctx,
            )
        return seconds


def past_time(text: str, now: datetime) -> datetime:
    """Return the point in time that a text names, in UTC.

    Raises ValueError with what was expected, what was given, and what was probably meant.
    """
    seconds = duration_seconds(text)
    if seconds == 0:
        raise _refused(
            text, "that is now, and nothing has happened since; only a time that has passed makes sense here"
        )
    if seconds is not None:
        try:
            return now - timedelta(seconds=seconds)
        except OverflowError:
            most = (now - datetime.min.replace(tzinfo=UTC)).days
            raise _refused(text, f"there is no time before the year 1, {most} days ago") from None
    if _TIME.fullmatch(text) is None:
        raise _refused(text, _slip(text, now))
    try:
        moment = datetime.fromisoformat(_FRACTION.sub(r"\1", text.upper()))
    except ValueError as error:
        raise _refused(text, _slip_of_time(text, error, now)) from None
    try:
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except OverflowError:
        raise _refused(text, "in UTC that is not within the years 1 to 9999") from None
    if moment > now:
        raise _refused(
            text, f"that is in the future, now is {_time(now)}; only a time that has passed makes sense here"
        )
    return moment


def _refused(text: str, why: str) -> ValueError:
    return ValueError(f"expected {EXPECTED}, got {_quoted(text)}: {why}")


def _slip(text: str, now: datetime) -> str:
    """Return what is wrong with a text in the form of neither an age nor a time, and what was probably meant."""
    plain = plain_text(text)
    if plain.isascii() and plain.isdecimal():
        return _slip_of_number(plain, now)
    meant = meant_duration(text)
    if meant is not None and duration_seconds(meant) is not None and _is_accepted(meant, now):
        why = "an age has no sign" if has_sign(text) else "that is not how an age is written"
        return f"{why}; did you mean {meant}?"
    time = _meant_time(text, now)
    if time is not None:
        return f"that is not how a time is written; did you mean {time}?"
    return f"an age is a number and one of the units {', '.join(UNIT_SECONDS)}"


def _slip_of_number(digits: str, now: datetime) -> str:
    number = int(digits[:20])
    for span, per_second in ((_EPOCH_SECONDS, 1), (_EPOCH_MILLISECONDS, 1_000)):
        if number in span and number / per_second <= now.timestamp():
            return f"did you mean {_time(datetime.fromtimestamp(number / per_second, UTC))}?"
    if len(digits) == len("20261122") and (time := _meant_time(digits, now)):
        return f"that is not how a time is written; did you mean {time}?"
    return f"the unit is missing: {digits[:20]}s, {digits[:20]}m, {digits[:20]}h or {digits[:20]}d?"


def _slip_of_time(text: str, error: ValueError, now: datetime) -> str:
    """Return what is wrong with a text in the form of a time."""
    midnight = _MIDNIGHT.fullmatch(text)
    if midnight:
        try:
            day = datetime.fromisoformat(midnight[1]) + timedelta(days=1)
        except (ValueError, OverflowError):
            return f"there is no such time ({error})"
        meant = f"{day.date().isoformat()}T00:00:00{midnight[2].upper() or 'Z'}"
        if _is_accepted(meant, now):
            return f"the hours are 00 to 23; did you mean {meant}?"
    return f"there is no such time ({str(error).rstrip('.')})"


def _meant_time(text: str, now: datetime) -> str | None:
    """Return the time that a text gives in another form of ISO 8601, with blanks or other digits; None if it gives none."""
    plain = plain_text(text).replace("\N{MINUS SIGN}", "-").replace("/", "-").upper()
    spaced = re.sub(r"^(\d{4}-\d\d-\d\d)(?=\d)", r"\1T", plain, flags=re.ASCII)
    try:
        moment = datetime.fromisoformat(spaced)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
    return _time(moment) if moment <= now else None


def _is_accepted(text: str, now: datetime) -> bool:
    try:
        past_time(text, now)
    except ValueError:
        return False
    return True


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 1]}…")
