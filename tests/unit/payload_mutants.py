"""Encoded events, and ways to break them: the input for tests of decoding."""

import io
import random
from typing import Any

import fastavro

from schemas.contract import SCHEMA

STATES = {
    "suspended",
    "scheduled",
    "available",
    "executing",
    "retryable",
    "completed",
    "cancelled",
    "discarded",
}
# Years 1 to 9999, in microseconds since 1970: counted here by hand, not taken from the code under test.
FIRST_TIME, LAST_TIME = -719_162 * 86_400_000_000, (2_932_897 * 86_400_000_000) - 1

WRITER = fastavro.parse_schema(SCHEMA)
# Times are raw integers, because a mutant may have an invalid time.
RAW_WRITER = fastavro.parse_schema(
    {
        **SCHEMA,
        "fields": [
            {**field, "type": "long"} if field["name"].endswith("_at") else field
            for field in SCHEMA["fields"]
        ],
    }
)


def event_of(chance: random.Random) -> dict[str, Any]:
    """Draw a valid event; about half of its optional fields are present."""
    text = ["", "a", "movie:4711", "łódź", "日本語", "🎬", 'x"\\\n\t', "n" * 150]
    now = 1_760_000_000_000_000 + chance.randrange(10**12)
    state = chance.choice(sorted(STATES))
    event: dict[str, Any] = {
        "namespace": chance.choice(["cinegraph-production", "n", "ż" * 100]),
        "job_id": str(chance.randrange(10**6)),
        "worker": chance.choice(["MoviePageJob", "W" * 300]),
        "queue": chance.choice(text),
        "state": state,
        "attempt": chance.randint(1, 20),
        "occurred_at": now,
    }
    for name in ("source", "parent_job_id", "root_job_id", "external_id", "release", "executor", "args"):
        if chance.random() < 0.5:
            event[name] = chance.choice(text)
    for name in ("enqueued_at", "scheduled_at", "started_at"):
        if chance.random() < 0.5:
            event[name] = now - chance.randrange(10**9)
    if chance.random() < 0.5:
        event |= {"max_attempts": chance.randint(0, 20), "depth": chance.randint(-1, 5)}
    if chance.random() < 0.3:
        event["depends_on"] = [str(i) for i in range(chance.randint(1, 5))]
        event["expected_children"] = {"MoviePageJob": 136}
        event["meta"] = {"k": "v", "": chance.choice(text)}
    if chance.random() < 0.5:
        event["error"] = {
            name: chance.choice(text)
            for name in ("category", "type", "message", "stacktrace", "origin", "fingerprint")
        }
    return event


def encode(event: dict[str, Any], writer: Any = WRITER) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, writer, event)
    return stream.getvalue()


def zigzag(number: int) -> bytes:
    rest = (number << 1) ^ (number >> 63)
    rest &= 2**64 - 1
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def flip(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    for _ in range(chance.randint(1, 3)):
        one[chance.randrange(len(one))] ^= 1 << chance.randrange(8)
    return bytes(one)


def overwrite(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    one[chance.randrange(len(one))] = chance.choice([0, 1, 2, 3, 0x7F, 0x80, 0xC0, 0xED, 0xFF])
    return bytes(one)


def truncate(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    return bytes(one[: chance.randrange(len(one))])


def insert(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    at = chance.randrange(len(one) + 1)
    return bytes(one[:at]) + chance.randbytes(chance.randint(1, 8)) + bytes(one[at:])


def duplicate(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    start = chance.randrange(len(one))
    end = min(len(one), start + chance.randint(1, 40))
    return bytes(one[:end]) + bytes(one[start:])


def edit_length(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    """Replace a byte by an Avro number (zigzag, variable length): often the byte was a length or a count."""
    at = chance.randrange(len(one))
    number = chance.choice([-(2**63), -(2**31), -2, -1, 0, 1, 63, 64, 2**20, 2**31, 2**40, 2**62, 2**63 - 1])
    return bytes(one[:at]) + zigzag(number) + bytes(one[at + 1 :])


def splice(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    return bytes(one[: chance.randrange(len(one))]) + other[chance.randrange(len(other)) :]


def odd_numbers(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    event = event_of(chance)
    for name in chance.sample(["attempt", "max_attempts", "depth"], 1):
        event[name] = chance.choice([-(2**31), -2, -1, 0, 1, 2**31 - 1])
    times = [0, 1, -1, -(2**63), 2**63 - 1, FIRST_TIME, FIRST_TIME - 1, LAST_TIME, LAST_TIME + 1]
    for name in chance.sample(["occurred_at", "enqueued_at", "scheduled_at", "started_at"], 1):
        event[name] = chance.choice(times)
    event["expected_children"] = {"W": chance.choice([-1, 0, 2**31 - 1])}
    return encode(event, RAW_WRITER)


def odd_texts(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    event = event_of(chance)
    odd = [
        "",
        "\0",
        "a\0b",
        "\ufffd",
        "\ufeff",
        "\x7f",
        "\u202e",
        "é" * 250,
        "é" * 251,
        "x" * 501,
        "\U0010ffff",
    ]
    names = [field["name"] for field in SCHEMA["fields"] if field["type"] == "string"]
    for name in chance.sample(names, chance.randint(1, 2)):
        event[name] = chance.choice(odd)
    event["meta"] = {chance.choice(odd): chance.choice(odd)}
    event["depends_on"] = (
        [chance.choice(odd)] * chance.choice([0, 1, 1_000, 1_001]) if chance.random() < 0.02 else []
    )
    if event.get("error") and chance.random() < 0.5:
        event["error"]["message"] = chance.choice(odd)
    return encode(event)


MUTATIONS = (
    flip,
    overwrite,
    truncate,
    insert,
    duplicate,
    edit_length,
    splice,
    odd_numbers,
    odd_texts,
)
