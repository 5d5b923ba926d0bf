"""Reads the log of the events from a position, one partition at a time, without a subscription.

Nothing is acknowledged, and the broker stores no state of a reader: the caller keeps the position.
"""

import re
from datetime import datetime
from typing import Final, NamedTuple

import pulsar

from broker.client import Message, broker_errors
from broker.private import reading
from settings.broker import BrokerSettings

_PARTITION = re.compile(r"-partition-(\d+)$")


class Position(NamedTuple):
    """The position of a message in its partition. ``batch_index``: its place in the publisher's batch, or -1."""

    ledger_id: int
    entry_id: int
    batch_index: int


START: Final = Position(-1, -1, -1)
"""Before the first message."""


class PartitionReader:
    """Reads one partition from a position onwards. Used by one thread."""

    def __init__(
        self,
        client: pulsar.Client,
        settings: BrokerSettings,
        partition: int,
        position: Position,
        receiver_queue: int,
        published_from: datetime | None = None,
    ) -> None:
        """Open the reader after ``position``, the last message read. ``published_from`` applies only at START.

        Raises BrokerError.
        """
        self.partition = partition
        self.position = position
        self._settings = settings
        self._topic = f"{settings.topic}-partition-{partition}"
        start = (
            pulsar.MessageId.earliest
            if position == START
            else pulsar.MessageId(partition, *position)  # reading begins with the message after it
        )
        with broker_errors(f"read {self._topic}", settings):
            self._reader = client.create_reader(
                self._topic,
                start,
                receiver_queue_size=receiver_queue,
                reader_name="jobtrail rebuild",
                # As for consumers: by default an encrypted message would never be delivered.
                crypto_failure_action=pulsar.ConsumerCryptoFailureAction.CONSUME,
            )
            if position == START and published_from is not None:
                self._reader.seek(seek_ms(published_from))

    def read(self, most: int, wait_ms: int) -> list[Message]:
        """Return the next messages, at most ``most``; wait for each of them at most ``wait_ms`` milliseconds."""
        messages: list[Message] = []
        read_next = reading(self._reader)
        with broker_errors(f"read {self._topic}", self._settings):
            try:
                while len(messages) < most:
                    messages.append(read_next(wait_ms))
            except pulsar.Timeout:
                pass
        if messages:
            self.position = position_of(messages[-1])
        return messages

    def has_reached(self, last: Position) -> bool:
        """Return whether this message was read, or nothing more can be read. The broker's own markers are not messages."""
        if self.position >= last and last.entry_id >= 0:
            return True
        with broker_errors(f"read {self._topic}", self._settings):
            return not self._reader.has_message_available()

    def close(self) -> None:
        """Close the reader. Raises BrokerError."""
        with broker_errors(f"close the reader of {self._topic}", self._settings):
            self._reader.close()


def seek_ms(published_from: datetime) -> int:
    """Return the milliseconds since 1970 to seek to. Nothing was published before 1970, and the library takes no less."""
    return max(0, round(published_from.timestamp() * 1000))


def position_of(message: Message) -> Position:
    """Return the position of a message."""
    found = message.message_id()
    return Position(found.ledger_id(), found.entry_id(), found.batch_index())


def partitions(client: pulsar.Client, settings: BrokerSettings) -> list[int]:
    """Return the numbers of the topic's partitions. Raises BrokerError, also when the topic has none."""
    with broker_errors(f"look up the partitions of {settings.topic}", settings):
        names = client.get_topic_partitions(settings.topic)
    return sorted(int(found[1]) for name in names if (found := _PARTITION.search(name)))
