"""Follows a topic without a subscription: takes nothing from the consumers, and acknowledges nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import pulsar

from broker.client import Client, Message, broker_errors
from broker.private import reading
from broker.reading import seek_ms
from settings.broker import BrokerSettings

_RECEIVER_QUEUE = 1_000


@contextmanager
def open_reader(client: Client, settings: BrokerSettings, since: datetime | None) -> Iterator[pulsar.Reader]:
    """Open a reader of all partitions, from the messages published at or after ``since``; without it, from new ones on.

    Raises BrokerError.
    """
    with broker_errors(f"read {settings.topic}", settings):
        reader = client.create_reader(
            settings.topic,
            pulsar.MessageId.latest,
            receiver_queue_size=_RECEIVER_QUEUE,
            # As for the consumers: by default an encrypted message would never be delivered.
            crypto_failure_action=pulsar.ConsumerCryptoFailureAction.CONSUME,
        )
        if since is not None:
            reader.seek(seek_ms(since))
    try:
        yield reader
    finally:
        with broker_errors("close the reader", settings):
            reader.close()


def has_more(reader: pulsar.Reader, settings: BrokerSettings) -> bool:
    """Return whether the topic has a message that the reader has not returned yet. Raises BrokerError."""
    with broker_errors("read", settings):
        return bool(reader.has_message_available())


def next_message(reader: pulsar.Reader, settings: BrokerSettings, wait_seconds: float) -> Message | None:
    """Return the next message; None if none came in time, or the broker is away. Raises BrokerError."""
    with broker_errors("read", settings):
        try:
            message = reading(reader)(round(wait_seconds * 1000))
        except pulsar.Timeout:
            return None
        return message
