"""Headers that other systems put before an Avro datum. Pulsar uses none: a message with one is a dead letter."""

import struct
from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.contract import EVENT_BYTES
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder
from schemas.errors import DecodeError

_SINGLE_OBJECT: Final = b"\xc3\x01"


class WireFormat(NamedTuple):
    """A header that was found, and its name."""

    name: str
    header: bytes


_FORMATS: Final[tuple[tuple[bytes, int, Callable[[bytes], str]], ...]] = (
    (b"\0", 5, lambda header: f"Confluent's wire format (schema id {struct.unpack('>I', header[1:])[0]})"),
    (b"\0", 9, lambda header: f"Apicurio's wire format (schema id {struct.unpack('>Q', header[1:])[0]})"),
    (b"\x03\0", 18, lambda _header: "AWS Glue's wire format"),
)
"""First bytes, length and name of headers. Other content may begin with the same bytes."""


def find_wire_format(content: bytes, decode: Decoder) -> WireFormat | None:
    """Return the header that the bytes begin with; None when there is none.

    Two bytes identify Avro's single-object encoding. The first bytes of the others are not enough, so an event must follow.
    A 0 byte without one is taken for Confluent's: in an event it would be an empty namespace.
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
    """Return whether the bytes are a whole event, valid or not."""
    if len(payload) > EVENT_BYTES:
        return False
    try:
        decode(payload)
    except DecodeError as error:
        return error.reason not in (DeadLetterReason.MALFORMED, DeadLetterReason.TRAILING_BYTES)
    return True
