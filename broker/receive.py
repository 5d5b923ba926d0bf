"""Batches of messages and their acknowledgement, with the library's errors turned into ours."""

import contextlib
from collections.abc import Iterable

import pulsar

from broker.client import Client, Consumer, Message, broker_errors
from broker.private import acknowledging, batch_receive
from settings.broker import BrokerSettings


def receive_batch(consumer: Consumer, settings: BrokerSettings) -> list[Message]:
    """What is there by the subscription's batch policy; empty when its time has passed and nothing came.

    While the broker is away this is empty too: the library connects again by itself. Raises BrokerError when the
    consumer itself is at its end.
    """
    with broker_errors("receive", settings):
        try:
            return batch_receive(consumer)
        except pulsar.Timeout:
            return []


def acknowledge(consumer: Consumer, messages: Iterable[Message], settings: BrokerSettings) -> None:
    """Say of each message that it is done. Only queued here: sent within 100 ms, and at the latest by ``close``."""
    with broker_errors("acknowledge", settings):
        one = acknowledging(consumer)
        for message in messages:
            one(message)


def close(consumer: Consumer, settings: BrokerSettings) -> None:
    """Send the acknowledgements that wait and leave the subscription. Raises BrokerError."""
    with broker_errors("close the consumer", settings):
        consumer.close()


def abandon(consumer: Consumer) -> None:
    """Give up a consumer that is not connected. Without this the library goes on trying to connect it, for ever."""
    with contextlib.suppress(pulsar.PulsarException):
        consumer.close()


def leave(client: Client) -> None:
    """End every connection at once, without a word to a broker that may not answer: what was not acknowledged comes again.

    The client's own ``close`` waits for that answer, and raises when the time is up.
    """
    client.shutdown()


def is_connected(consumer: Consumer) -> bool:
    """Whether the broker is there now, for every partition; the library connects again by itself."""
    connected: bool = consumer.is_connected()
    return connected
