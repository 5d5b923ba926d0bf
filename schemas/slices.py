"""Functions that a compiled decoder calls: they read numbers, texts and lists from the bytes of a plain event.

They raise one of ``NOT_PLAIN`` for anything else. That is not an error: the general decoder takes over.
``schemas.compiled`` decides the order of the fields.
"""

import struct
from functools import cache
from typing import Any, Final

from schemas.contract import INT_MAX, Event

SHORT: Final = 128
"""A byte below this is a whole number. Lengths and counts are stored doubled, so one byte reaches to 63."""
NOT_SHORT: Final = 0x81
"""Bits of the first byte of a length or count: more bytes follow (highest bit), or it is negative (lowest bit)."""

_MOST_SHIFTED: Final = 63


class UnexpectedError(Exception):
    """The payload is not plain."""


# The errors that a broken payload can cause. A length beyond any memory is an OverflowError.
NOT_PLAIN: Final = (
    UnexpectedError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    UnicodeDecodeError,
    struct.error,
)


def _raw(payload: bytes, at: int) -> tuple[int, int]:
    """Return a number as stored, with its sign in the lowest bit, and where it ends."""
    raw, shift = 0, 0
    while True:
        byte = payload[at]
        at += 1
        raw |= (byte & 0x7F) << shift
        if byte < SHORT:
            return raw, at
        shift += 7
        if shift > _MOST_SHIFTED:
            raise UnexpectedError


def _number(payload: bytes, after: int, least: int, most: int) -> tuple[int, int]:
    """Return a number within bounds and where it ends. Its first byte is the one before ``after``."""
    raw, at = _raw(payload, after - 1)
    number = raw >> 1 ^ -(raw & 1)
    if not least <= number <= most:
        raise UnexpectedError
    return number, at


def _long_length(payload: bytes, after: int) -> tuple[int, int]:
    """Return twice the length of a text of more than 63 bytes, and where the text begins."""
    raw, at = _raw(payload, after - 1)
    if raw & 1:
        raise UnexpectedError
    return raw, at


def _short_text(payload: bytes, at: int) -> tuple[str, int]:
    """Return a text of at most 63 bytes without a NUL, and where it ends."""
    length = payload[at]
    end = at + 1 + (length >> 1)
    text = payload[at + 1 : end].decode()
    if length & NOT_SHORT or "\0" in text:
        raise UnexpectedError
    return text, end


def _items(payload: bytes, at: int) -> tuple[int, int]:
    """Return how many items a block has, at most 63, and where they begin."""
    count = payload[at]
    if count & NOT_SHORT:
        raise UnexpectedError
    return count >> 1, at + 1


def _end(payload: bytes, at: int) -> int:
    """Return where a list ends after its first block. Raises UnexpectedError when it has a second one."""
    if payload[at] != 0:
        raise UnexpectedError
    return at + 1


def _texts(payload: bytes, at: int) -> tuple[list[str], int]:
    count, at = _items(payload, at)
    found = []
    for _ in range(count):
        text, at = _short_text(payload, at)
        found.append(text)
    return found, _end(payload, at)


def _map_of_texts(payload: bytes, at: int) -> tuple[dict[str, str], int]:
    count, at = _items(payload, at)
    found = {}
    for _ in range(count):
        key, at = _short_text(payload, at)
        found[key], at = _short_text(payload, at)
    return found, _end(payload, at)


def _map_of_counts(payload: bytes, at: int) -> tuple[dict[str, int], int]:
    count, at = _items(payload, at)
    found = {}
    for _ in range(count):
        key, at = _short_text(payload, at)
        found[key], at = _number(payload, at + 1, 0, INT_MAX)
    return found, _end(payload, at)


def _utf8(text: str) -> str:
    """Return a Latin-1 text read as UTF-8."""
    return text if text.isascii() else text.encode("latin-1").decode()


@cache
def names() -> dict[str, Any]:
    """Return the names that generated source uses. All functions share them.

    A present-day time takes eight bytes of seven bits each. It is read as four pairs of bytes. One table for each pair
    gives the pair's value at its place, or None where a byte wrongly says that more bytes follow or that none do; adding
    None raises TypeError, so the payload is not plain.
    """
    worth = list(range(1 << 14))
    inside = [_bits(pair, worth) if pair & 0x8080 == 0x8080 else None for pair in range(1 << 16)]
    last = [_bits(pair, worth) if pair & 0x8080 == 0x0080 else None for pair in range(1 << 16)]
    return {
        "Event": Event,
        "new": tuple.__new__,
        "pairs": struct.Struct("<HHHH").unpack_from,
        "past": [None if byte & NOT_SHORT else (byte >> 1) + 1 for byte in range(256)],
        "first": inside,
        "second": _shifted(inside, 14),
        "third": _shifted(inside, 28),
        "last": _shifted(last, 42),
        "number": _number,
        "long_length": _long_length,
        "texts": _texts,
        "map_of_texts": _map_of_texts,
        "map_of_counts": _map_of_counts,
        "utf8": _utf8,
        "NOT_PLAIN": NOT_PLAIN,
    }


def small(byte: int, least: int) -> int | None:
    """Return the number in one byte, or None when it needs more bytes or is below ``least``."""
    number = byte >> 1 ^ -(byte & 1)
    return number if byte < SHORT and number >= least else None


def _bits(pair: int, worth: list[int]) -> int:
    """Return the 14 bits of two bytes. The number comes from ``worth``, so that equal numbers are one object."""
    return worth[(pair & 0x7F) | (pair >> 1 & 0x3F80)]


def _shifted(values: list[int | None], by: int) -> list[int | None]:
    shifted = {value: value << by for value in values if value is not None}
    return [None if value is None else shifted[value] for value in values]
