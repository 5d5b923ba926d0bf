"""Publishes encoded events as fast as the broker takes them, with Pulsar's own client instead of our SDK."""

import threading
from collections.abc import Iterable

import pulsar
from pulsar.schema import Schema

from schemas.contract import SCHEMA_TEXT
from testing.workload import Message


class EncodedEvents(Schema):  # type: ignore[misc]  # pulsar ships without types
    """Registers a schema, by default the contract's, for payloads that are already encoded."""

    def __init__(self, schema_text: str = SCHEMA_TEXT) -> None:
        super().__init__(bytes, pulsar.schema.schema._pulsar.SchemaType.AVRO, {}, "JobEvent")
        self._schema_info = pulsar.schema.schema._pulsar.SchemaInfo(
            pulsar.schema.schema._pulsar.SchemaType.AVRO, "JobEvent", schema_text
        )

    def encode(self, obj: bytes) -> bytes:
        return obj

    def decode(self, data: bytes) -> bytes:
        return data


def publish(url: str, topic: str, messages: Iterable[Message], schema_text: str = SCHEMA_TEXT) -> int:
    """Publish all messages, wait for every acknowledgement, return their number. Raises RuntimeError on a refusal."""
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    refused: list[str] = []
    lock = threading.Lock()
    count = 0

    def sent(result: pulsar.Result, _id: object) -> None:
        if result != pulsar.Result.Ok:
            with lock:
                refused.append(str(result))

    try:
        producer = client.create_producer(
            topic,
            schema=EncodedEvents(schema_text),
            batching_enabled=True,
            batching_max_messages=1_000,
            batching_max_publish_delay_ms=10,
            max_pending_messages=20_000,
            max_pending_messages_across_partitions=100_000,
            block_if_queue_full=True,
            send_timeout_millis=0,
        )
        for message in messages:
            producer.send_async(message.payload, sent, partition_key=message.key)
            count += 1
        producer.flush()
    finally:
        client.close()
    if refused:
        raise RuntimeError(f"the broker refused {len(refused)} of {count} messages: {refused[0]}")
    return count
