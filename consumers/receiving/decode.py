"""Decodes the messages of one batch into events and dead letters. Acknowledges nothing."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from broker.client import Message
from broker.private import payload_length, schema_version
from broker.registry import WriterSchemas
from consumers.process.stop import Pauses, Stop
from derive.rows import DeadLetter
from schemas.contract import EVENT_BYTES, TIME_MAX, Event
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.errors import BrokerError, DecodeError

log = structlog.get_logger(__name__)

_DETAIL_CHARACTERS = 2_000
_KEY_CHARACTERS = 1_000
_KEPT_OF_TOO_LARGE_BYTES = 64 * 1024
_MOST_COPIED_BYTES = 32 * 1024 * 1024
"""Payloads above this size are not kept: the library gives only whole payloads, and a few bytes of zlib can expand to 2 GB."""


class Received(NamedTuple):
    """A received batch: its events, the message of each event, and a dead letter for every other message."""

    messages: Sequence[Message]
    events: list[Event]
    event_messages: list[Message]
    dead_letters: list[DeadLetter]


def decode_batch(
    messages: Sequence[Message],
    schemas: WriterSchemas,
    stop: Stop,
    longest_pause_seconds: float,
    on_wait: Callable[[], None],
) -> Received | None:
    """Decode each message by the schema it was written with.

    Waits while the broker does not answer, and calls ``on_wait`` before each pause. Returns None if the service was asked to
    stop meanwhile: nothing has been acknowledged, so the messages are delivered again.
    """
    events: list[Event] = []
    event_messages: list[Message] = []
    dead_letters: list[DeadLetter] = []
    decode = schemas.decode
    for message in messages:
        try:
            events.append(decode(message))
            event_messages.append(message)
        except DecodeError as error:
            dead_letters.append(dead_letter(message, error.reason, error.detail))
        except BrokerError as error:
            event = _decode_patiently(message, schemas, stop, longest_pause_seconds, on_wait, error)
            if event is None:
                return None
            if isinstance(event, DeadLetter):
                dead_letters.append(event)
            else:
                events.append(event)
                event_messages.append(message)
    return Received(messages, events, event_messages, dead_letters)


def dead_letter(message: Message, reason: DeadLetterReason, detail: str) -> DeadLetter:
    """Return the dead letter of a message that is not a valid event, with the key and time that the publisher's client set.

    Of a payload too large for any event it keeps only the beginning, of a huge one nothing.
    """
    if message.encryption_context() is not None:
        reason, detail = (
            DeadLetterReason.ENCRYPTED,
            "the payload is encrypted, and jobtrail has no keys: publish without encryption",
        )
    return DeadLetter(
        topic=message.topic_name(),
        message_id=str(message.message_id()),
        reason=reason.value,
        detail=storable_detail(detail),
        payload=_kept_payload(message),
        message_key=_storable(_key(message), _KEY_CHARACTERS),
        publish_time_us=min(message.publish_timestamp() * 1000, TIME_MAX),
        schema_version=schema_version(message),
    )


def storable_detail(detail: str) -> str:
    """Return a dead letter's detail in a form that Postgres can store."""
    return _storable(detail, _DETAIL_CHARACTERS)


def _decode_patiently(
    message: Message,
    schemas: WriterSchemas,
    stop: Stop,
    longest_pause_seconds: float,
    on_wait: Callable[[], None],
    error: BrokerError,
) -> Event | DeadLetter | None:
    pauses = Pauses(longest_pause_seconds)
    while True:
        pause = pauses.next_seconds()
        on_wait()
        log.warning(
            "schema_unavailable", error=str(error), then=f"tries again in {pause:.1f} s, nothing is lost"
        )
        if stop.wait(pause):
            return None
        try:
            return schemas.decode(message)
        except DecodeError as refusal:
            return dead_letter(message, refusal.reason, refusal.detail)
        except BrokerError as again:
            error = again


def _kept_payload(message: Message) -> bytes:
    length = payload_length(message)
    if length > _MOST_COPIED_BYTES:
        return b""
    payload: bytes = message.data()
    return payload if length <= EVENT_BYTES else payload[:_KEPT_OF_TOO_LARGE_BYTES]


def _key(message: Message) -> str:
    try:
        key: str = message.partition_key()
    except UnicodeDecodeError:
        return "(a key that is not UTF-8)"
    return key


def _storable(text: str, most: int) -> str:
    """Return a text in a form that Postgres can store: no NUL, no lone surrogate, not too long."""
    return text[:most].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
