"""Values as Avro writes them: numbers, texts, arrays and maps. Which of them make an event, `_record.py` says.

Made for events, of which thousands differ in a few fields only: what repeats is looked up, and a time is put together from
pairs of bytes that were made beforehand. fastavro, which asks the schema about each value anew, takes four times as long.
"""

from collections.abc import Sequence
from operator import index
from typing import Final

# So many texts are remembered, none of them longer: a job's names and ids come again and again.
_REMEMBERED_TEXTS: Final = 2_048
_REMEMBERED_BYTES: Final = 200

EMPTY: Final = b"\0"
"""An array or a map without entries."""


def long(value: int) -> bytes:
    """Give an int or a long: zigzag, so that small negative numbers are short, and seven bits a byte.

    Raises TypeError for what is no integer, and OverflowError for one beyond 64 bits.
    """
    value = index(value)
    if not -(2**63) <= value < 2**63:
        raise OverflowError("a number beyond 64 bits")
    return _sevens(value << 1 if value >= 0 else ~(value << 1))


def _sevens(bits: int) -> bytes:
    """Seven bits a byte, the least first; every byte but the last says that more follow."""
    written = bytearray()
    while bits > 127:
        written.append(bits & 127 | 128)
        bits >>= 7
    written.append(bits)
    return bytes(written)


class _Numbers(dict[int, bytes]):
    """Small numbers by heart, the others as they come."""

    def __missing__(self, value: int) -> bytes:
        return long(value)


NUMBERS: Final = _Numbers((number, long(number)) for number in range(-1, 256))

# A time of these days has eight bytes: twice two by their fourteen bits, and four that change every two minutes.
_PAIRS: Final = tuple(bytes((bits & 127 | 128, bits >> 7 | 128)) for bits in range(2**14))
_PAIR_BITS: Final = 2**14 - 1
_TIME_LEAST: Final = 2**28
_TIME_MOST: Final = 2**61


class _Ends(dict[int, bytes]):
    """The last bytes of times, of each two minutes."""

    def __missing__(self, bits: int) -> bytes:
        if len(self) >= 1_024:
            self.clear()
        self[bits] = written = _sevens(bits)
        return written


_ENDS: Final = _Ends()


def moment(value: int) -> bytes:
    """Give a long that is a time in microseconds as a rule; any other as well. Raises what `long` raises."""
    if _TIME_LEAST <= value < _TIME_MOST:
        bits = value << 1
        return _PAIRS[bits & _PAIR_BITS] + _PAIRS[bits >> 14 & _PAIR_BITS] + _ENDS[bits >> 28]
    return NUMBERS[value]


class Texts(dict[str, bytes]):
    """Texts by what Avro writes for them; those that are short enough are remembered. Made by being asked for."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__()
        self._limit_bytes = limit_bytes

    def __missing__(self, text: str) -> bytes:
        """Raises ValueError for what is no plain text, is longer than the limit, or holds what Postgres cannot hold."""
        if type(text) is not str or "\0" in text:
            raise ValueError(f"no text without NUL: {text!r:.100}")
        encoded = text.encode()
        if len(encoded) > self._limit_bytes:
            raise ValueError(f"{len(encoded)} bytes, at most {self._limit_bytes} may be")
        written = NUMBERS[len(encoded)] + encoded
        if len(encoded) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED_TEXTS:
                self.clear()
            self[text] = written
        return written


def block(entries: Sequence[bytes]) -> bytes:
    """Give an array or a map of its entries, as one block."""
    return b"".join((NUMBERS[len(entries)], *entries, EMPTY)) if entries else EMPTY
