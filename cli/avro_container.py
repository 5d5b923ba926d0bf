"""Reads Avro object container files: the schema they were written with, and the bytes of each event."""

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import fastavro

from schemas.decode import Decoder, decoder
from schemas.errors import InputError
from schemas.writer_schema import writer_schema

_HEADER: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Header",
        "fields": [
            {"name": "magic", "type": {"type": "fixed", "name": "Magic", "size": 4}},
            {"name": "meta", "type": {"type": "map", "values": "bytes"}},
            {"name": "sync", "type": {"type": "fixed", "name": "Sync", "size": 16}},
        ],
    }
)
_SYNC_BYTES: Final = 16
_RAW_DEFLATE: Final = -15

_CODECS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "null": lambda block: block,
    "deflate": lambda block: zlib.decompress(block, _RAW_DEFLATE),
    "bzip2": bz2.decompress,
    "xz": lzma.decompress,
}
"""Codecs in Python's standard library, with the function that unpacks a block."""


class Container(NamedTuple):
    """The events of a file."""

    decode: Decoder
    """Decodes by the schema in the file."""
    payloads: Iterator[bytes]
    """The bytes of each event. Raises EOFError where the file is cut or damaged, after the events before it."""


def read_container(name: str, content: bytes) -> Container:
    """Open a container. ``name`` is for messages.

    Raises InputError when it is not a container or its codec is not supported, and SchemaError when its schema is not a
    JobEvent schema.
    """
    stream = io.BytesIO(content)
    try:
        header: Any = fastavro.schemaless_reader(stream, _HEADER, None)
        codec = header["meta"].get("avro.codec", b"null").decode()
        schema = header["meta"]["avro.schema"].decode()
    except Exception as error:  # fastavro raises anything when the bytes are broken
        raise InputError(
            f"{name} begins as an Avro container, but its header is damaged: {error!r}."
        ) from error
    if codec not in _CODECS:
        raise InputError(
            f"{name} is an Avro container with codec {codec[:40]!r}, which is not read here: expected one of "
            f"{', '.join(_CODECS)}. Write it with another codec, or convert it: "
            f"`avro-tools recodec --codec deflate IN OUT`."
        )
    return Container(decoder(schema), _payloads(stream, schema, codec, header["sync"]))


def _payloads(stream: io.BytesIO, schema: str, codec: str, sync: bytes) -> Iterator[bytes]:
    read = writer_schema(schema).read
    size = stream.getbuffer().nbytes
    while stream.tell() < size:
        try:
            events = _long(stream)
            block = stream.read(_long(stream))
            data = _CODECS[codec](block)
        except Exception as error:
            raise EOFError(f"a block is cut or damaged ({error!r})") from error
        yield from _payloads_of_block(data, events, read)
        if stream.read(_SYNC_BYTES) != sync:
            raise EOFError("a block does not end with the mark that the header gives")


def _payloads_of_block(data: bytes, events: int, read: Callable[[Any], Any]) -> Iterator[bytes]:
    stream = io.BytesIO(data)
    for _ in range(events):
        start = stream.tell()
        try:
            read(stream)
        except Exception as error:
            raise EOFError(f"the event cannot be read ({error!r})") from error
        yield data[start : stream.tell()]


def _long(stream: io.BytesIO) -> int:
    number: Any = fastavro.schemaless_reader(stream, "long", None)
    if number < 0:
        raise ValueError(f"expected a length, got {number}")
    return int(number)
