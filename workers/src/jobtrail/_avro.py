"""Encodes single values in Avro: numbers, texts, arrays and maps. `_record.py` puts them together to an event.

Made for thousands of events that differ in a few fields only. Repeated values are looked up, and a time is put
together from pairs of bytes made beforehand. fastavro consults the schema for each value and takes four times as long.
"""

from collections.abc import Sequence
from operator import index
from typing import Final

# How many texts are remembered, and the longest one: a job's names and ids come again and again.
_REMEMBERED_TEXTS: Final = 2_048
_REMEMBERED_BYTES: Final = 200

EMPTY: Final = b"\0"
"""An array or a map without entries."""


def long(value: int) -> bytes:
    """Encode an int or a long: zigzag, so that small negative numbers are short, with seven bits in a byte.

    Raises TypeError when the value is not an integer, and OverflowError when it needs more than 64 bits.
    """
    value = index(value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError("a number beyond 64 bits")
    return _sevens(value << 1 if value >= 0 else ~(value << 1))


def _sevens(bits: int) -> bytes:
    """Write seven bits in a byte, the least significant first; every byte but the last says that more follow."""
    written = bytearray()
    while bits > 127:
        written.append(bits & 127 | 128)
        bits >>= 7
    written.append(bits)
    return bytes(written)


class _Numbers(dict[int, bytes]):
    """Encoded numbers: small ones are stored, others are encoded on demand."""

    def __missing__(self, value: int) -> bytes:
        return long(value)


NUMBERS: Final = _Numbers((number, long(number)) for number in range(-1, 256))

# A present-day time has eight bytes: two pairs, looked up by their fourteen bits, and four that change every two
# minutes.
_PAIRS: Final = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(2**14))
_PAIR_BITS: Final = 2**14 - 1
_TIME_LEAST: Final = 2**28
_TIME_MOST: Final = 2**61


class _Ends(dict[int, bytes]):
    """The last bytes of a time, for each two minutes."""

    def __missing__(self, bits: int) -> bytes:
        if len(self) >= 1_024:
            self.clear()
        self[bits] = written = _sevens(bits)
        return written


_ENDS: Final = _Ends()


def moment(value: int) -> bytes:
    """Encode a long, fastest for a time in microseconds. Raises what `long` raises."""
    if _TIME_LEAST <= value < _TIME_MOST:
        bits = value << 1
        return _PAIRS[bits & _PAIR_BITS] + _PAIRS[bits >> 14 & _PAIR_BITS] + _ENDS[bits >> 28]
    return NUMBERS[value]


class Texts(dict[str, bytes]):
    """Maps a text to its Avro encoding, made when looked up. Short texts are remembered."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes

    def __missing__(self, text: str) -> bytes:
        """Encode a text. Raises ValueError if it is not a str, exceeds the limit, or has a NUL (Postgres has none)."""
        if type(text) is not str or "\0" in text:
            raise ValueError(f"expected a text without NUL, got {text!r:.100}")
        encoded = text.encode()
        if len(encoded) > self._limit_bytes:
            raise ValueError(f"a text of {len(encoded)} bytes; at most {self._limit_bytes} are allowed")
        written = NUMBERS[len(encoded)] + encoded
        if len(encoded) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED_TEXTS:
                self.clear()
            self[text] = written
        return written


def block(entries: Sequence[bytes]) -> bytes:
    """Encode an array or a map from its encoded entries, as one block."""
    return b"".join((NUMBERS[len(entries)], *entries, EMPTY)) if entries else EMPTY
