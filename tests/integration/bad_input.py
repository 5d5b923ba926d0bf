"""The ways in which a message can be wrong: what is sent, and the reason its dead letter must have."""

import copy
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

from schemas.contract import EVENT_BYTES, SCHEMA
from schemas.writer_schema import plain_schema
from testing.topics import EVENT, encode
from tests.integration.raw_producer import LZ4, ZLIB, RawMessage

NOW_US = 1_790_000_000_000_000
RAW_TIMES = plain_schema(SCHEMA)
GROWN = copy.deepcopy(SCHEMA)
next(field for field in GROWN["fields"] if field["name"] == "state")["type"]["symbols"].append("paused")


class Bad(NamedTuple):
    """One odd message. If the reason is None, it is still a valid event."""

    name: str
    message: RawMessage
    reason: str | None


def event(job_id: str, **fields: Any) -> dict[str, Any]:
    return {**EVENT, "occurred_at": NOW_US, "job_id": job_id, **fields}


def good(number: int) -> RawMessage:
    return RawMessage(encode(event(f"good-{number}")), key=str(number).encode())


def _of_fields(name: str, reason: str | None, **fields: Any) -> Bad:
    return Bad(name, RawMessage(encode(event(f"bad {name}", **fields), RAW_TIMES)), reason)


def _patched(name: str, old: bytes, new: bytes, reason: str) -> Bad:
    payload = encode(event("marker"))
    assert payload.count(old) == 1
    return Bad(name, RawMessage(payload.replace(old, new)), reason)


_WHOLE = encode(event("whole"))

MALFORMED = [
    Bad("an empty message", RawMessage(b""), "malformed"),
    Bad("cut in the middle", RawMessage(_WHOLE[: len(_WHOLE) // 2]), "malformed"),
    Bad("cut by its last byte", RawMessage(_WHOLE[:-1]), "malformed"),
    Bad("a byte too many", RawMessage(_WHOLE + b"\0"), "trailing_bytes"),
    Bad("two events in one message", RawMessage(_WHOLE + _WHOLE), "trailing_bytes"),
    Bad("JSON", RawMessage(json.dumps(event("json")).encode()), "malformed"),
    Bad("gzip", RawMessage(b"\x1f\x8b\x08" + zlib.compress(_WHOLE)), "malformed"),
    Bad("a lone surrogate", RawMessage(_WHOLE.replace(b"whole", b"\xed\xa0\x80xx")), "malformed"),
    Bad("text that is not UTF-8", RawMessage(_WHOLE.replace(b"whole", b"\xff\xfe\xfd\xfc\xfb")), "malformed"),
    Bad("a text of 2^40 bytes", RawMessage(b"\x80\x80\x80\x80\x80\x80\x01" + _WHOLE), "malformed"),
    Bad("a text of a negative length", RawMessage(b"\x01" + _WHOLE), "malformed"),
    Bad("4.9 MB of garbage", RawMessage(b"\xff" * 4_900_000), "malformed"),
]
VALUES = [
    _of_fields("a NUL in a text", "nul_in_text", external_id="movie\0"),
    _of_fields("a NUL in the error", "nul_in_text", error={"message": "a\0b"}),
    _of_fields("a NUL in meta", "nul_in_text", meta={"k\0": "v"}),
    _of_fields("no namespace", "missing_field", namespace=""),
    _of_fields("no time", "missing_field", occurred_at=0),
    _of_fields("a time before Christ", "out_of_range", occurred_at=-(2**62)),
    _of_fields("a time beyond timestamptz", "out_of_range", occurred_at=2**63 - 1),
    _of_fields("milliseconds", "out_of_range", occurred_at=NOW_US // 1000),
    _of_fields("nanoseconds", "out_of_range", occurred_at=NOW_US * 1000),
    _of_fields("a clock that was never set", "out_of_range", occurred_at=12 * 3600 * 10**6),
    _of_fields("the year 2100", "out_of_range", occurred_at=4_102_444_800_000_000),
    _of_fields("queued in the year 20000", "out_of_range", enqueued_at=568_971_820_800_000_000),
    _of_fields("attempt 0", "out_of_range", attempt=0),
    _of_fields("a negative count of children", "out_of_range", expected_children={"W": -1}),
    _of_fields("an id of 501 bytes", "too_long", parent_job_id="x" * 501),
    _of_fields("a worker of 301 bytes", "too_long", worker="ż" * 151),
    _of_fields("1,001 dependencies", "too_long", depends_on=["x"] * 1001),
]
METADATA = [
    Bad(
        "a schema version that does not exist",
        RawMessage(_WHOLE, schema_version=struct.pack(">q", 99)),
        "unknown_schema",
    ),
    Bad("schema version 2^62", RawMessage(_WHOLE, schema_version=struct.pack(">q", 2**62)), "unknown_schema"),
    Bad("schema version -5", RawMessage(_WHOLE, schema_version=struct.pack(">q", -5)), "no_schema"),
    Bad("no schema version", RawMessage(_WHOLE, schema_version=b""), "no_schema"),
    Bad(
        "a compression that does not exist",
        RawMessage(b"?" * 40, compression=9, uncompressed_size=99),
        "malformed",
    ),
    Bad("encrypted", RawMessage(b"?" * 40, encrypted_by=b"k"), "encrypted"),
    Bad(
        "encrypted and compressed",
        RawMessage(b"?" * 9, encrypted_by=b"k", compression=LZ4, uncompressed_size=9),
        "encrypted",
    ),
    Bad("an encrypted batch", RawMessage(b"?" * 40, encrypted_by=b"k", batch_of=5), "encrypted"),
    Bad(
        "40 MB in 40 kB of zlib",
        RawMessage(zlib.compress(bytes(40_000_000)), compression=ZLIB, uncompressed_size=40_000_000),
        "too_large",
    ),
    Bad(
        "200 MB claimed by 9 bytes",
        RawMessage(zlib.compress(b"x"), compression=ZLIB, uncompressed_size=200_000_000),
        "too_large",
    ),
    Bad("a bad message with a key that is not text", RawMessage(b"\x07", key=b"\xff\xfe"), "malformed"),
    Bad("published in the year 584 million", RawMessage(b"\x08", publish_time_ms=2**64 - 1), "malformed"),
    Bad("published in 1970", RawMessage(b"\x09", publish_time_ms=0), "malformed"),
]
TAKEN = [
    _of_fields("ten years in the future", None, occurred_at=NOW_US + 10 * 365 * 86_400 * 10**6),
    _of_fields("a stack trace of 4 MB", None, state="discarded", error={"stacktrace": "s" * 4_000_000}),
    _of_fields("a fingerprint of 1 MB", None, state="discarded", error={"fingerprint": "f" * 1_000_000}),
    _of_fields("escapes of a terminal", None, worker="\x1b[2J\x1b[31mJob\u202e"),
    _of_fields("arguments that are not JSON", None, args="{"),
    Bad("a key that is not text", RawMessage(encode(event("bad key")), key=b"\xff\xfe\0"), None),
    Bad("a good event, compressed", RawMessage(zlib.compress(encode(event("z"))), compression=ZLIB, uncompressed_size=len(encode(event("z")))), None),
]  # fmt: skip
BAD = [*MALFORMED, *VALUES, *METADATA, *TAKEN]
"""For a topic that has only the contract's schema. The test adds chunked messages and messages of other schemas."""


def chunked(payload: bytes, chunks: int) -> list[RawMessage]:
    """Split one message into chunks."""
    size = -(-len(payload) // chunks)
    return [
        RawMessage(payload[at * size : (at + 1) * size], chunk=(at, chunks, len(payload)))
        for at in range(chunks)
    ]


def in_chunks() -> list[tuple[list[RawMessage], str | None]]:
    """Return messages in several chunks, each with the reason that the whole message has."""
    return [
        (chunked(encode(event("in chunks")), 2), None),
        (chunked(encode(event("9 MB", args="x" * (9 << 20))), 3), "too_large"),
        (chunked(encode(event("as large as allowed", args="x" * (EVENT_BYTES - 200))), 2), None),
    ]


def between(
    messages: list[RawMessage], first: int, next_good: Callable[[int], RawMessage] = good
) -> list[RawMessage]:
    """Put a good event before each message, and one at the end. The good events are numbered from ``first``."""
    mixed = [one for at, message in enumerate(messages) for one in (next_good(first + at), message)]
    return [*mixed, next_good(first + len(messages))]
