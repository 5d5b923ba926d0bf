"""Headers that other systems put before an Avro datum. On Pulsar there is none: a message with one is a dead letter."""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.contract import EVENT_BYTES
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder
from schemas.errors import DecodeError

_SINGLE_OBJECT: Final = b"\xc3\x01"


class WireFormat(NamedTuple):
    """A header that was found, and what it is called."""

    name: str
    header: bytes


_FORMATS: Final[tuple[tuple[bytes, int, Callable[[bytes], str]], ...]] = (
    (b"\0", 5, lambda header: f"Confluent's wire format (schema id {struct.unpack('>I', header[1:])[0]})"),
    (b"\0", 9, lambda header: f"Apicurio's wire format (schema id {struct.unpack('>Q', header[1:])[0]})"),
    (b"\x03\0", 18, lambda _header: "AWS Glue's wire format"),
)
"""First bytes, length and name of headers; each may be the beginning of something else."""


def find_wire_format(content: bytes, decode: Decoder) -> WireFormat | None:
    """Return the header that bytes begin with; None when there is none.

    Two bytes say that it is Avro's single-object encoding. Of the others one or two bytes are too few, so what follows must
    be an event; a 0 alone, where an event has the length of its namespace, is taken for Confluent's.
    """
    if content.startswith(_SINGLE_OBJECT):
        name = f"Avro's single-object encoding (schema fingerprint {content[9:1:-1].hex()})"
        return WireFormat(name, content[:10])
    like = [one for one in _FORMATS if content.startswith(one[0]) and len(content) > one[1]]
    for _, length, named in like:
        if is_event(content[length:], decode):
            return WireFormat(named(content[:length]), content[:length])
    if like and like[0][0] == b"\0":
        _, length, named = like[0]
        return WireFormat(named(content[:length]), content[:length])
    return None


def is_event(payload: bytes, decode: Decoder) -> bool:
    """Whether bytes are a whole event, valid or not."""
    if len(payload) > EVENT_BYTES:
        return False
    try:
        decode(payload)
    except DecodeError as error:
        return error.reason not in (DeadLetterReason.MALFORMED, DeadLetterReason.TRAILING_BYTES)
    return True
