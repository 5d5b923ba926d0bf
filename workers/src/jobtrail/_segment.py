"""The bytes of a spool segment: a head that names its destination and schema, and a record for each event. Pure.

A record is a mark, two lengths, a CRC-32, the job id and the encoded event. Lengths and CRC reveal a record that is
cut off or changed; the mark finds the next whole record after it.
"""

import hashlib
import json
import struct
from collections.abc import Iterable
from typing import Final, NamedTuple
from zlib import crc32

Message = tuple[str, bytes]
"""A job id, which chooses the partition, and the bytes of an event."""

MAGIC: Final = b"jobtrail spool 1\n"
_HEAD: Final = struct.Struct("<II")
_MARK: Final = b"\xfejt\xff"
_RECORD: Final = struct.Struct("<4sIIH")


class Destination(NamedTuple):
    """Where events are to be sent. A segment is sent nowhere else."""

    broker: str
    """The broker's address without user, password and query."""
    topic: str

    @property
    def key(self) -> str:
        """The beginning of its segments' file names."""
        return hashlib.sha256(f"{self.broker}\n{self.topic}".encode()).hexdigest()[:12]


class Contents(NamedTuple):
    """The contents of a segment."""

    destination: Destination
    schema: str
    """The text of the schema that its events were encoded with."""
    messages: list[Message]
    damaged: int
    """How many places have a record that is cut off or changed. Each place means at least one lost event."""


def head(destination: Destination, schema: str) -> bytes:
    """Return the head of a segment."""
    said = {"broker": destination.broker, "topic": destination.topic, "schema": schema}
    body = json.dumps(said).encode()
    return MAGIC + _HEAD.pack(len(body), crc32(body)) + body


def records(messages: Iterable[Message]) -> bytes:
    """Return the records of events, to append to a segment."""
    parts = []
    for job_id, payload in messages:
        key = job_id.encode("utf-8", "replace")
        crc = crc32(payload, crc32(key))
        parts += [_RECORD.pack(_MARK, len(payload), crc, len(key)), key, payload]
    return b"".join(parts)


def read(data: bytes) -> Contents:
    """Read a segment. Raises ValueError when the head is not one of ours: then the file is left alone."""
    start = len(MAGIC) + _HEAD.size
    if not data.startswith(MAGIC) or len(data) < start:
        raise ValueError("it does not begin as a segment of this version")
    length, crc = _HEAD.unpack_from(data, len(MAGIC))
    body = data[start : start + length]
    if len(body) != length or crc32(body) != crc:
        raise ValueError("its head is cut off or changed")
    said = json.loads(body)
    texts = [said.get(name) if isinstance(said, dict) else None for name in ("broker", "topic", "schema")]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("its head does not say broker, topic and schema")
    broker, topic, schema = (str(text) for text in texts)
    messages, damaged = _read_records(data, start + length)
    return Contents(Destination(broker, topic), schema, messages, damaged)


def _read_records(data: bytes, at: int) -> tuple[list[Message], int]:
    messages: list[Message] = []
    damaged = 0
    while at < len(data):
        end = _whole(data, at)
        if end:
            _, length, _, _ = _RECORD.unpack_from(data, at)
            key = data[at + _RECORD.size : end - length]
            messages.append((key.decode("utf-8", "replace"), data[end - length : end]))
            at = end
            continue
        damaged += 1
        # Skip to the next whole record.
        at = data.find(_MARK, at + 1)
        while at >= 0 and not _whole(data, at):
            at = data.find(_MARK, at + 1)
        if at < 0:
            break
    return messages, damaged


def _whole(data: bytes, at: int) -> int:
    """Return where the record that begins here ends, 0 when it is not whole."""
    if at + _RECORD.size > len(data):
        return 0
    mark, length, crc, key_length = _RECORD.unpack_from(data, at)
    begin = at + _RECORD.size
    end = begin + key_length + length
    if mark != _MARK or end > len(data):
        return 0
    view = memoryview(data)
    return end if crc32(view[begin:end]) == crc else 0
