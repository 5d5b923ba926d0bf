"""Parses durations such as 30m, 24h, 7d, and guesses the meaning of one in another form.

Pure. A duration here has ASCII digits and a unit, and neither sign nor blanks.
"""

import re
import unicodedata
from typing import Final

UNIT_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 60 * 60, "d": 24 * 60 * 60, "w": 7 * 24 * 60 * 60}

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(s|min|m|h|d|w)", re.ASCII)
_ISO: Final = re.compile(r"p(\d[\d.]*w)?(\d[\d.]*d)?(?:t(\d[\d.]*h)?(\d[\d.]*m)?(\d[\d.]*s)?)?", re.ASCII)
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)([a-z]+)", re.ASCII)
_WORDS: Final = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("h", "hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("d", "day", "days"), "d"),
    **dict.fromkeys(("w", "wk", "wks", "week", "weeks"), "w"),
}
_DAYS: Final = {
    **dict.fromkeys(("mo", "mon", "month", "months"), 30),
    **dict.fromkeys(("y", "yr", "yrs", "year", "years"), 365),
}
_SIGNS: Final = "+-\N{MINUS SIGN}\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{EN DASH}\N{EM DASH}"
_LONGEST_TEXT: Final = 40


def duration_seconds(text: str) -> float | None:
    """Return the length of a duration in seconds; None if the text is not one. A huge number gives infinity."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) * UNIT_SECONDS[found[2]] if found else None


def meant_duration(text: str) -> str | None:
    """Return the duration that was probably meant: 30d for -30d, "30 days ago" or P30D; None when there is no guess."""
    plain = plain_text(text)
    if len(plain) > _LONGEST_TEXT:
        return None
    iso = _ISO.fullmatch(plain)
    if iso:
        plain = "".join(part for part in iso.groups() if part)
    parts = _PART.findall(plain)
    if not parts or "".join(number + word for number, word in parts) != plain:
        return None
    if len(parts) == 1 and parts[0][1] in _WORDS:
        return f"{parts[0][0]}{_WORDS[parts[0][1]]}"
    seconds = 0.0
    for number, word in parts:
        if word in _WORDS:
            seconds += float(number) * UNIT_SECONDS[_WORDS[word]]
        elif word in _DAYS:
            seconds += float(number) * _DAYS[word] * UNIT_SECONDS["d"]
        else:
            return None
    unit = next(unit for unit in ("d", "h", "m", "s") if seconds % UNIT_SECONDS[unit] == 0 or unit == "s")
    return f"{seconds / UNIT_SECONDS[unit]:.15g}{unit}"


def plain_text(text: str) -> str:
    """Return a text without sign, blanks and "ago", in lower case, its digits ASCII and its decimal comma a point."""
    digits = "".join(
        str(unicodedata.decimal(character)) if character.isdecimal() else character
        for character in unicodedata.normalize("NFKC", text[: 4 * _LONGEST_TEXT])
        if unicodedata.category(character) not in ("Cf", "Cc", "Zs", "Zl", "Zp")
    )
    unsigned = digits.lstrip(_SIGNS).lower().removesuffix("ago")
    joined = re.sub(r"(?<=\d)[_'’](?=\d)", "", unsigned)
    return re.sub(r"^(\d+),(\d+)(?=\D)", r"\1.\2", joined)


def has_sign(text: str) -> bool:
    """Return whether a text begins with a sign, ignoring blanks."""
    return text.strip()[:1] in tuple(_SIGNS)
