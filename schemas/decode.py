"""Decode bytes to a complete, valid event, or raise one DecodeError that names the field, the value and the cure.

A message is always decoded with the schema it was written with. Most events are plain and take the function generated for
that schema (``compiled``). The others go through fastavro; an event that fails one of a few quick checks is then examined
field by field to find what is wrong.
"""

import io
from collections.abc import Callable
from operator import itemgetter
from typing import Any

from schemas.compiled import compiled
from schemas.contract import (
    BYTES,
    ERROR_TEXTS,
    EVENT_BYTES,
    INT_MAX,
    JOB_ID_BYTES,
    MAP_ENTRIES,
    OCCURRED_MAX,
    OCCURRED_MIN,
    RANKS,
    REQUIRED_TEXT,
    TIME_MAX,
    TIME_MIN,
    WORKER_BYTES,
    Event,
)
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.errors import DecodeError
from schemas.times import likely_mistake
from schemas.writer_schema import WriterSchema, writer_schema

Decoder = Callable[[bytes], Event]

_ANY_LIMIT = min(BYTES.values())
_TIMES = ("enqueued_at", "scheduled_at", "started_at")
_TEXTS = (*BYTES, "external_id", "release", "executor", "args")


def decoder(writer_schema_text: str) -> Decoder:
    """Return a function that decodes payloads written with this schema.

    Raises SchemaError when its events cannot be read as JobEvent (``schemas.writer_schema``).
    """
    writer = writer_schema(writer_schema_text)
    general = general_decoder(writer)
    quick = compiled(writer)
    if quick is None:
        return general

    def decode(payload: bytes) -> Event:
        event = quick(payload)
        return general(payload) if event is None else event

    return decode


def general_decoder(writer: WriterSchema) -> Decoder:
    """Return a decoder that accepts every valid event, and says what is wrong with the others."""
    read, missing, error_missing, units = writer.read, writer.missing, writer.error_missing, writer.units
    stream_of = io.BytesIO
    fields = itemgetter(*Event._fields)

    def decode(payload: bytes) -> Event:
        stream = stream_of(payload)
        try:
            event: dict[str, Any] = read(stream)
        except (
            Exception
        ) as error:  # fastavro raises EOFError, IndexError, UnicodeDecodeError, ValueError and more
            raise DecodeError(DeadLetterReason.MALFORMED, _malformed(payload, error)) from error
        if stream.tell() != len(payload):
            raise DecodeError(
                DeadLetterReason.TRAILING_BYTES,
                f"expected the payload to end with the event, got {len(payload) - stream.tell()} bytes after it: "
                "encode with exactly the schema the producer registered",
            )
        if missing:
            event = {**missing, **event}
        if not writer.error_is_ours and event["error"] is not None:
            failure = {**error_missing, **event["error"]}
            event["error"] = {name: failure[name] for name in ERROR_TEXTS}
        for name, unit in units.items():
            event[name] = _in_microseconds(event[name], unit)
        if not (len(payload) <= _ANY_LIMIT or _lengths_hold(event)) or not _values_hold(event):
            examine(event)
        return Event._make(fields(event))

    return decode


def _in_microseconds(time: int, unit: tuple[int, int]) -> int:
    """Return a time of another unit in microseconds.

    A publisher may declare milliseconds and send the microseconds that docs/event.md asks for. A time of these years can
    only be one of the two, so its size decides.
    """
    if OCCURRED_MIN <= time <= OCCURRED_MAX:
        return time
    multiply, divide = unit
    return time * multiply // divide


def _values_hold(event: dict[str, Any]) -> bool:
    error = event["error"]
    expected, meta = event["expected_children"], event["meta"]
    text = (
        f"{event['namespace']}{event['job_id']}{event['worker']}{event['queue']}{event['source']}"
        f"{event['parent_job_id']}{event['root_job_id']}{event['external_id']}{event['release']}{event['executor']}"
        f"{event['args']}"
    )
    return bool(
        event["state"] in RANKS
        and event["namespace"]
        and event["job_id"]
        and event["worker"]
        and 1 <= event["attempt"] <= INT_MAX
        and 0 <= event["max_attempts"] <= INT_MAX
        and -1 <= event["depth"] <= INT_MAX
        and OCCURRED_MIN <= event["occurred_at"] <= OCCURRED_MAX
        and TIME_MIN <= event["enqueued_at"] <= TIME_MAX
        and TIME_MIN <= event["scheduled_at"] <= TIME_MAX
        and TIME_MIN <= event["started_at"] <= TIME_MAX
        and "\0" not in text
        and (error is None or not any("\0" in error[name] for name in ERROR_TEXTS))
        and (not event["depends_on"] or _list_holds(event["depends_on"]))
        and (not expected or _counts_hold(expected))
        and (not meta or _meta_holds(meta))
    )


def _lengths_hold(event: dict[str, Any]) -> bool:
    return all(
        len(event[name]) * 4 <= most or len(event[name].encode()) <= most for name, most in BYTES.items()
    )


def _list_holds(ids: list[str]) -> bool:
    return len(ids) <= MAP_ENTRIES and all(
        "\0" not in one and len(one.encode()) <= JOB_ID_BYTES for one in ids
    )


def _counts_hold(counts: dict[str, int]) -> bool:
    return len(counts) <= MAP_ENTRIES and all(
        "\0" not in worker and len(worker.encode()) <= WORKER_BYTES and 0 <= count <= INT_MAX
        for worker, count in counts.items()
    )


def _meta_holds(meta: dict[str, str]) -> bool:
    return len(meta) <= MAP_ENTRIES and all(
        "\0" not in name and "\0" not in value for name, value in meta.items()
    )


def too_large(size: int) -> DecodeError:
    """Return the error for a payload of ``size`` bytes, which is more than an event may have."""
    return DecodeError(
        DeadLetterReason.TOO_LARGE,
        f"the payload has {size} bytes, at most {EVENT_BYTES} are allowed: shorten its long texts (args, the stack trace), "
        "or put its lists on further events",
    )


def examine(event: dict[str, Any]) -> None:
    """Check a decoded event field by field. Raises DecodeError for the first field that no table can hold."""
    for name in REQUIRED_TEXT:
        if not event[name]:
            raise DecodeError(
                DeadLetterReason.MISSING_FIELD,
                f"{name} is empty: every event must have a namespace, a job_id and a worker",
                name,
            )
    if event["state"] not in RANKS:
        raise DecodeError(
            DeadLetterReason.UNKNOWN_STATE,
            f"state is {event['state']!r}, this version knows {', '.join(RANKS)}: update the consumers",
            "state",
        )
    for name, least, most in (("attempt", 1, INT_MAX), ("max_attempts", 0, INT_MAX), ("depth", -1, INT_MAX)):
        if not least <= event[name] <= most:
            raise DecodeError(
                DeadLetterReason.OUT_OF_RANGE, f"{name} is {event[name]}, expected {least} to {most}", name
            )
    if not event["occurred_at"]:
        raise DecodeError(
            DeadLetterReason.MISSING_FIELD,
            "occurred_at is 0 (not known): every event must say when its state was entered",
            "occurred_at",
        )
    if not OCCURRED_MIN <= event["occurred_at"] <= OCCURRED_MAX:
        raise DecodeError(
            DeadLetterReason.OUT_OF_RANGE,
            f"occurred_at is {event['occurred_at']}, expected microseconds since 1970 within the years 2000 to 2099 "
            f"({OCCURRED_MIN} to {OCCURRED_MAX}): "
            f"{_probably(event['occurred_at']) or 'is the clock of the publisher set, and is this in microseconds?'}",
            "occurred_at",
        )
    for name in _TIMES:
        if not TIME_MIN <= event[name] <= TIME_MAX:
            raise DecodeError(
                DeadLetterReason.OUT_OF_RANGE,
                f"{name} is {event[name]}, expected microseconds since 1970 within the years 1 to 9999 "
                f"({TIME_MIN} to {TIME_MAX}): "
                f"{_probably(event[name], event['occurred_at']) or 'write 0 for a time that is not known'}",
                name,
            )
    for name in _TEXTS:
        _examine_text(name, event[name], BYTES.get(name))
    for name in ERROR_TEXTS if event["error"] is not None else ():
        _examine_text(f"error.{name}", event["error"][name], None)
    _examine_collections(event)


def _probably(time_us: int, near_us: int | None = None) -> str:
    mistake = likely_mistake(time_us, near_us)
    return f"probably {mistake}" if mistake else ""


def _examine_collections(event: dict[str, Any]) -> None:
    for name in ("depends_on", "expected_children", "meta"):
        if len(event[name]) > MAP_ENTRIES:
            raise DecodeError(
                DeadLetterReason.TOO_LONG,
                f"{name} has {len(event[name])} entries, at most {MAP_ENTRIES} are allowed: put the rest on further events",
                name,
            )
    for one in event["depends_on"]:
        _examine_text("depends_on", one, JOB_ID_BYTES)
    for worker, count in event["expected_children"].items():
        _examine_text("expected_children", worker, WORKER_BYTES)
        if not 0 <= count <= INT_MAX:
            raise DecodeError(
                DeadLetterReason.OUT_OF_RANGE,
                f"expected_children[{worker!r}] is {count}, expected 0 to {INT_MAX}",
                "expected_children",
            )
    for name, value in event["meta"].items():
        _examine_text("meta", name, None)
        _examine_text(f"meta[{name!r}]", value, None)


def _examine_text(name: str, value: str, most: int | None) -> None:
    if "\0" in value:
        raise DecodeError(
            DeadLetterReason.NUL_IN_TEXT,
            f"{name} holds a NUL character, which Postgres cannot store: {value[:80]!r}",
            name,
        )
    if most is not None and len(value.encode()) > most:
        raise DecodeError(
            DeadLetterReason.TOO_LONG,
            f"{name} is {len(value.encode())} bytes of UTF-8, at most {most} are allowed: {value[:80]!r}…",
            name,
        )


def _malformed(payload: bytes, error: Exception) -> str:
    if not payload:
        return "the payload is empty: expected an Avro record JobEvent"
    return (
        f"{len(payload)} bytes are not a JobEvent of the schema version that the message names ({type(error).__name__}: "
        f"{str(error)[:200]}): encode with exactly the schema the producer registered"
    )
