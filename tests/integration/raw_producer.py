"""A producer that writes Pulsar's protocol byte by byte, so that it can send what no client library would.

For example a schema version that does not exist, a key that is not text, or metadata that wrongly calls the payload compressed,
encrypted or a batch. It registers the contract's schema like any producer, so the broker accepts it.
"""

import socket
import struct
import time
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from schemas.contract import SCHEMA_TEXT

# Numbers of BaseCommand.Type and of each command's field; they are equal except for CONNECT.
_CONNECT, _CONNECTED, _PRODUCER, _SEND, _SEND_RECEIPT = 2, 3, 5, 6, 7
_PRODUCER_SUCCESS, _PING, _PONG = 17, 18, 19
_AVRO = 4
_TIMEOUT_SECONDS = 30

LZ4, ZLIB = 1, 2


@dataclass(frozen=True)
class RawMessage:
    """A payload and its metadata, which may be wrong."""

    payload: bytes
    key: bytes = b""
    schema_version: bytes = struct.pack(">q", 0)
    compression: int = 0
    uncompressed_size: int = 0
    batch_of: int = 0
    """If more than 0, the metadata calls the payload a batch of this many messages."""
    encrypted_by: bytes = b""
    publish_time_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    chunk: tuple[int, int, int] | None = None
    """(number of this chunk, chunks in all, bytes in all)."""


class RawProducer:
    """An open connection with one producer on one partition."""

    def __init__(self, url: str, partition: str) -> None:
        """Connect to ``partition``, the full name of a topic without partitions of its own. Raises OSError."""
        address = urllib.parse.urlsplit(url)
        assert address.hostname
        assert address.port
        self._socket = socket.create_connection((address.hostname, address.port), _TIMEOUT_SECONDS)
        self._sequence = 0
        self._command(_CONNECT, _text(1, "raw") + _number(4, 19))
        self._until(_CONNECTED)
        schema = _text(1, "JobEvent") + _bytes(3, SCHEMA_TEXT.encode()) + _number(4, _AVRO)
        self._command(_PRODUCER, _text(1, partition) + _number(2, 1) + _number(3, 1) + _bytes(7, schema))
        self._until(_PRODUCER_SUCCESS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, messages: Sequence[RawMessage]) -> None:
        """Send each message, and wait until the broker has stored it."""
        for message in messages:
            self._send(message)
            self._until(_SEND_RECEIPT)

    def _send(self, message: RawMessage) -> None:
        metadata = (
            _text(1, "raw")
            + _number(2, self._sequence)
            + _number(3, message.publish_time_ms)
            + (_bytes(6, message.key) if message.key else b"")
            + (_number(8, message.compression) if message.compression else b"")
            + (_number(9, message.uncompressed_size) if message.uncompressed_size else b"")
            + (_number(11, message.batch_of) if message.batch_of else b"")
            + (_bytes(13, _text(1, "key") + _bytes(2, message.encrypted_by)) if message.encrypted_by else b"")
            + (_text(14, "AES/GCM") + _bytes(15, b"0" * 12) if message.encrypted_by else b"")
            + (_bytes(16, message.schema_version) if message.schema_version else b"")
        )
        if message.chunk is not None:
            number, chunks, size = message.chunk
            metadata += (
                _text(26, f"chunked-{size}") + _number(27, chunks) + _number(28, size) + _number(29, number)
            )
        body = _number(1, 1) + _number(2, self._sequence) + _number(3, max(message.batch_of, 1))
        command = _number(1, _SEND) + _bytes(_SEND, body)
        self._sequence += 1
        self._frame(command, struct.pack(">I", len(metadata)) + metadata + message.payload)

    def _command(self, kind: int, body: bytes) -> None:
        self._frame(_number(1, kind) + _bytes(kind, body), b"")

    def _frame(self, command: bytes, rest: bytes) -> None:
        self._socket.sendall(struct.pack(">II", 4 + len(command) + len(rest), len(command)) + command + rest)

    def _until(self, wanted: int) -> None:
        """Read frames until one of this kind comes, and answer pings. Any other frame is a refusal, and an error."""
        while True:
            (size,) = struct.unpack(">I", self._exactly(4))
            frame = self._exactly(size)
            kind = frame[5]  # the type is the first field of every command, and always below 128
            if kind == wanted:
                return
            if kind == _PING:
                self._command(_PONG, b"")
                continue
            raise AssertionError(f"the broker answered with command {kind}: {frame!r}")

    def _exactly(self, count: int) -> bytes:
        got = b""
        while len(got) < count:
            part = self._socket.recv(count - len(got))
            if not part:
                raise ConnectionError("the broker closed the connection")
            got += part
        return got


def _number(tag: int, value: int) -> bytes:
    return _varint(tag << 3) + _varint(value)


def _bytes(tag: int, value: bytes) -> bytes:
    return _varint(tag << 3 | 2) + _varint(len(value)) + value


def _text(tag: int, value: str) -> bytes:
    return _bytes(tag, value.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
