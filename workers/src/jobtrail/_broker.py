"""The edge to Apache Pulsar: a connection that publishes encoded events and returns when the broker has them.

All calls block, and the publisher's thread alone makes them (`_publisher.py`). Each is bounded: connecting by
OPERATION_TIMEOUT_SECONDS; publishing by SEND_TIMEOUT_SECONDS, and once more by the first where another schema needs a
producer. The end of the process waits for the call under way, because Pulsar's client aborts a process that ends in the
middle of one.
"""

import json
import os
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import _pulsar
import pulsar

from jobtrail._config import Config
from jobtrail._contract import SCHEMA_TEXT
from jobtrail._redaction import redact, shown_url
from jobtrail._segment import Message

OPERATION_TIMEOUT_SECONDS: Final = 5
CONNECTION_TIMEOUT_MS: Final = 3_000
SEND_TIMEOUT_SECONDS: Final = 10
MESSAGES_AT_ONCE: Final = 1_000


class Connection(Protocol):
    """Where the sender puts encoded events."""

    def publish(self, messages: Sequence[Message], schema: str = SCHEMA_TEXT) -> None:
        """Return when the broker has all of them; else raise, and nothing is known of any.

        ``schema`` is the text of the one that they were encoded with: another release's, from the spool.
        """

    def abandon(self) -> None:
        """Give the connection up without waiting."""


class _EventSchema(pulsar.schema.Schema):  # type: ignore[misc]  # pulsar-client carries no types
    """Registers the writer's schema at the broker; the events come already encoded.

    pulsar-client's own AvroSchema is not used: it would build another schema from a class of its own.
    """

    def __init__(self, text: str) -> None:
        super().__init__(bytes, _pulsar.SchemaType.AVRO, json.loads(text), "AVRO")

    def encode(self, obj: bytes) -> bytes:
        return obj

    def decode(self, data: bytes) -> bytes:
        return data


class PulsarConnection:
    """One client with one producer, and one more for each other schema in the spool. Made in the process that uses it, never before a fork."""

    def __init__(self, config: Config) -> None:
        self._topic = config.topic
        self._client = pulsar.Client(config.pulsar_url, **_client_options(config))
        self._producers: dict[str, Any] = {}
        try:
            self._producer_of(SCHEMA_TEXT)
        except Exception:
            self.abandon()
            raise

    def publish(self, messages: Sequence[Message], schema: str = SCHEMA_TEXT) -> None:
        producer = self._producer_of(schema)
        send = producer.send_async
        started = time.monotonic()
        for key, payload in messages:
            # Without a callback: one in Python takes the GIL for each message, three times the cost, and starves
            # behind a job that computes. flush() answers for all of them,
            send(payload, None, partition_key=key)
        producer.flush()
        # except that of several partitions it gives the answer of the last; one that failed before is not connected,
        if not producer.is_connected():
            raise pulsar.NotConnected("a partition no longer takes events")
        # or was connected again after its messages had timed out. None can have in less than the limit.
        if time.monotonic() - started > SEND_TIMEOUT_SECONDS - 1:
            raise pulsar.Timeout("nothing is known of events that took so long")

    def _producer_of(self, schema: str) -> Any:
        if schema not in self._producers:
            self._producers[schema] = self._client.create_producer(
                self._topic,
                schema=_EventSchema(schema),
                send_timeout_millis=SEND_TIMEOUT_SECONDS * 1000,
                # Twice what is sent at once: sending never waits for room, only for the acknowledgement.
                max_pending_messages=2 * MESSAGES_AT_ONCE,
                block_if_queue_full=True,
                batching_enabled=True,
                batching_max_messages=MESSAGES_AT_ONCE,
                # Whatever jobs share a partition share a batch. Batches by key would be one for each event, and only
                # Key_Shared consumers need them; ours are Shared.
                batching_type=pulsar.BatchingType.Default,
                compression_type=pulsar.CompressionType.LZ4,
            )
        return self._producers[schema]

    def abandon(self) -> None:
        self._client.shutdown()


def connect(config: Config) -> Connection:
    """Connect, and register the schema. Raises what Pulsar's client raises."""
    return PulsarConnection(config)


def is_refused_schema(error: BaseException) -> bool:
    """Say whether the broker refused the schema, and not the connection."""
    return isinstance(error, pulsar.IncompatibleSchema)


def explain(error: BaseException, config: Config) -> str:
    """Say in one line what is wrong between this program and the broker, and the cure."""
    where = f"{config.topic} at {shown_url(config.pulsar_url)}"
    for kind, cure in _CURES:
        if isinstance(error, kind):
            return f"{where}: {cure}"
    return f"{where}: {type(error).__name__}: {redact(str(error))}"


_CURES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        pulsar.IncompatibleSchema,
        "the broker refuses this SDK's schema as incompatible with the one the topic has: "
        "use the SDK's release that belongs to the pipeline's, or correct the topic",
    ),
    (
        pulsar.AuthenticationError,
        "the broker does not accept the token: see JOBTRAIL_PULSAR_TOKEN and JOBTRAIL_PULSAR_TOKEN_FILE",
    ),
    (pulsar.AuthorizationError, "the token may not produce to this topic: ask for the right to"),
    (pulsar.TopicNotFound, "there is no such topic: run `jobtrail provision`, or correct JOBTRAIL_TOPIC"),
    (pulsar.InvalidUrl, "this is no address of a broker: correct JOBTRAIL_PULSAR_URL"),
    (pulsar.ConnectError, "no connection: check that the broker runs, and JOBTRAIL_PULSAR_URL"),
    (pulsar.Timeout, "no answer in time: check that the broker runs, and JOBTRAIL_PULSAR_URL"),
)


def _client_options(config: Config) -> dict[str, Any]:
    options: dict[str, Any] = {
        "operation_timeout_seconds": OPERATION_TIMEOUT_SECONDS,
        "connection_timeout_ms": CONNECTION_TIMEOUT_MS,
        "stats_interval_in_seconds": 0,
        # A refused schema is hundreds of lines, a broker that is away one every second: said in one line of ours.
        # A logging.Logger would take the GIL for each line.
        "logger": pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull),
        "tls_validate_hostname": config.pulsar_tls_validate_hostname,
    }
    if config.pulsar_tls_trust_certs_file:
        options["tls_trust_certs_file_path"] = config.pulsar_tls_trust_certs_file
    if config.pulsar_token_file:
        path = config.pulsar_token_file
        options["authentication"] = pulsar.AuthenticationToken(lambda: _read_token(path))
    elif config.pulsar_token:
        options["authentication"] = pulsar.AuthenticationToken(config.pulsar_token)
    return options


def _read_token(path: str) -> str:
    # Called by Pulsar's own thread, where an exception would end the process; the broker refuses an empty token.
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().strip()
    except (OSError, ValueError):
        return ""
