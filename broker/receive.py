"""Receives batches of messages and acknowledges them, and turns the library's errors into ours."""

import contextlib
from collections.abc import Iterable

import pulsar

from broker.client import Client, Consumer, Message, broker_errors
from broker.private import acknowledging, batch_receive
from settings.broker import BrokerSettings


def receive_batch(consumer: Consumer, settings: BrokerSettings) -> list[Message]:
    """Return a batch by the subscription's batch policy; an empty one if its time has passed without a message.

    It is also empty while the broker is away: the library reconnects by itself. Raises BrokerError when the consumer can no
    longer be used.
    """
    with broker_errors("receive", settings):
        try:
            return batch_receive(consumer)
        except pulsar.Timeout:
            return []


def acknowledge(consumer: Consumer, messages: Iterable[Message], settings: BrokerSettings) -> None:
    """Queue an acknowledgement for each message. The library sends them within 100 ms, or at the latest in ``close``."""
    with broker_errors("acknowledge", settings):
        one = acknowledging(consumer)
        for message in messages:
            one(message)


def close(consumer: Consumer, settings: BrokerSettings) -> None:
    """Send the queued acknowledgements and leave the subscription. Raises BrokerError."""
    with broker_errors("close the consumer", settings):
        consumer.close()


def abandon(consumer: Consumer) -> None:
    """Close a consumer that is not connected. Otherwise the library tries to connect it for ever."""
    with contextlib.suppress(pulsar.PulsarException):
        consumer.close()


def leave(client: Client) -> None:
    """End every connection at once, without waiting for a broker that may not answer.

    Unacknowledged messages are delivered again. The client's own ``close`` waits for an answer, and raises if none comes in
    time.
    """
    client.shutdown()


def is_connected(consumer: Consumer) -> bool:
    """Return whether the consumer is connected now, for every partition. The library reconnects by itself."""
    connected: bool = consumer.is_connected()
    return connected
