"""Decodes messages by their schema version. Decoders are cached.

A missing or foreign schema is a defect of the message, which becomes a dead letter (DecodeError). A broker that does not
answer is not: that is a BrokerError, and the caller retries, so that an outage never turns good events into dead letters.
"""

import time

import pulsar

from broker.client import Message, broker_errors
from broker.private import payload_length, stored_schema, version_and_payload
from schemas.contract import EVENT_BYTES, SCHEMA_TEXT, Event
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder, decoder, too_large
from schemas.errors import DecodeError, SchemaError
from settings.broker import BrokerSettings

UNKNOWN_IS_KEPT_SECONDS = 60.0
"""How long an unknown version is remembered, so that a million such messages do not ask the broker a million times."""

MOST_VERSIONS = 1_000
"""More schema versions than any topic has. A publisher may write any number into a message; larger ones are not requested."""


class WriterSchemas:
    """Decoders of one topic, by the version of the writer's schema. Each consumer has its own; used by one thread."""

    def __init__(self, client: pulsar.Client, settings: BrokerSettings) -> None:
        self._client = client
        self._settings = settings
        self._bundled = decoder(SCHEMA_TEXT) if settings.schema_registry == "bundled" else None
        self._decoders: dict[int, Decoder] = {}
        self._refused: dict[int, tuple[float, DecodeError]] = {}

    def decode(self, message: Message) -> Event:
        """Return the event of a message.

        Raises DecodeError (a dead letter: ``too_large``, ``no_schema``, ``unknown_schema``, ``foreign_schema`` or a
        reason of ``schemas.decode``), or BrokerError when the broker does not answer (retry: the message may be valid).
        """
        version, payload = version_and_payload(message, EVENT_BYTES)
        if payload is None:
            raise too_large(payload_length(message))
        decode = self._decoders.get(version)
        if decode is None:
            decode = self.decoder(version)
        return decode(payload)

    def decoder(self, version: int) -> Decoder:
        """Return the decoder for one schema version of the topic, fetched when first used. Raises the same as ``decode``."""
        if self._bundled is not None:
            return self._bundled
        if version in self._decoders:
            return self._decoders[version]
        if not 0 <= version < MOST_VERSIONS:
            raise _never_given(version, self._settings.topic)
        until, refusal = self._refused.get(version, (0.0, None))
        if refusal is not None and time.monotonic() < until:
            # A new error each time: an error that is raised again and again would collect tracebacks without end.
            raise DecodeError(refusal.reason, refusal.detail)
        try:
            found = self._fetch(version)
        except DecodeError as error:
            self._refused[version] = (time.monotonic() + UNKNOWN_IS_KEPT_SECONDS, error)
            raise
        self._refused.pop(version, None)
        self._decoders[version] = found
        return found

    def _fetch(self, version: int) -> Decoder:
        topic = self._settings.topic  # never a partition's name: the schema belongs to the partitioned topic
        with broker_errors(f"read schema version {version} of {topic}", self._settings):
            try:
                stored = stored_schema(self._client, topic, version)
            except pulsar.TopicNotFound as error:  # an answer, not an outage
                raise DecodeError(
                    DeadLetterReason.UNKNOWN_SCHEMA,
                    f"cannot read schema version {version} of {topic}: the broker has no such version. The topic was "
                    "probably deleted and created again after the message was written",
                ) from error
        where = f"schema version {version} of {topic}"
        if stored.kind != "AVRO":
            raise DecodeError(
                DeadLetterReason.FOREIGN_SCHEMA, f"{where} is of type {stored.kind}, expected AVRO"
            )
        try:
            return decoder(stored.text)
        except SchemaError as error:
            raise DecodeError(DeadLetterReason.FOREIGN_SCHEMA, f"{where}: {error}") from error


def _never_given(version: int, topic: str) -> DecodeError:
    """Return the error for a version that no broker assigned. It is neither requested nor remembered."""
    if version < 0:
        return DecodeError(
            DeadLetterReason.NO_SCHEMA,
            f"the message on {topic} has no schema version: publish with the AVRO schema of JobEvent, and enforce schemas "
            "with `jobtrail provision`, so that the broker refuses producers without one",
        )
    return DecodeError(
        DeadLetterReason.UNKNOWN_SCHEMA,
        f"the message on {topic} names schema version {version}, and no topic has that many. Its publisher wrote a "
        "wrong number: let Pulsar's client set it",
    )
