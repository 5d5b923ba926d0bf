"""Reads batches of messages from several partitions in turn, with how far each batch advances each of them."""

import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from broker.client import Client, Message
from broker.private import payload_length
from broker.reading import PartitionReader, Position
from settings.rebuild import RebuildSettings
from store.rebuild.state import PartitionStep, Place

_CHUNK_MESSAGES = 1_000
"""Messages read from one partition before the next one's turn."""

_WAIT_MS = 1
_IDLE_SECONDS = 0.005


class ReadBatch(NamedTuple):
    """One batch of messages, and its steps."""

    messages: list[Message]
    steps: list[PartitionStep]


class Source:
    """Reads some partitions of the topic. Used by one thread."""

    def __init__(
        self,
        client: Client,
        settings: RebuildSettings,
        positions: Mapping[int, Place],
        published_from: datetime | None,
    ) -> None:
        """``positions``: the last message already read, by partition. Raises BrokerError."""
        self._client = client
        self._settings = settings
        self._published_from = published_from
        self._queue = max(1, settings.rebuild_receiver_queue // max(1, len(positions)))
        self._readers: dict[int, PartitionReader] = {}
        for partition, place in positions.items():
            self.add(partition, place)

    def add(self, partition: int, place: Place) -> None:
        """Read one more partition."""
        self._readers[partition] = PartitionReader(
            self._client, self._settings, partition, Position(*place), self._queue, self._published_from
        )

    @property
    def positions(self) -> dict[int, Position]:
        """How far each partition has been read, written or not."""
        return {partition: reader.position for partition, reader in self._readers.items()}

    def next_batch(self, wait_seconds: float) -> ReadBatch:
        """Return a full batch, or what has come after ``wait_seconds``."""
        return self._take(
            self._readers.values(), self._settings.rebuild_batch_events, time.monotonic() + wait_seconds
        )

    def next_up_to(self, ends: Mapping[int, Position], wait_seconds: float) -> ReadBatch | None:
        """Return a batch of the first partition whose end is not reached, after at most ``wait_seconds``; None if all are.

        All events of a job are in one partition, most of them near each other. So a batch from one partition has more events
        of each job, and writes fewer rows, than a batch from all partitions.
        """
        for partition, reader in self._readers.items():
            if not reader.has_reached(ends[partition]):
                deadline = time.monotonic() + wait_seconds
                return self._take([reader], self._settings.rebuild_batch_events, deadline, ends)
        return None

    def rest_up_to(self, ends: Mapping[int, Position], most: int, deadline: float) -> tuple[ReadBatch, bool]:
        """Return the messages up to these ends, and whether those are all: at most ``most``, and none after the deadline."""
        parts: list[ReadBatch] = []
        for partition, reader in self._readers.items():
            while not reader.has_reached(ends[partition]):
                left = most - sum(len(part.messages) for part in parts)
                if left <= 0 or time.monotonic() > deadline:
                    return _joined(parts), False
                parts.append(self._take([reader], min(left, _CHUNK_MESSAGES), min(deadline, _soon())))
        return _joined(parts), True

    def _take(
        self,
        readers: Iterable[PartitionReader],
        most: int,
        deadline: float,
        ends: Mapping[int, Position] | None = None,
    ) -> ReadBatch:
        """Return ``most`` messages, or what has come by the deadline, or when nothing more comes and the ends are reached."""
        readers = list(readers)
        before = {reader.partition: reader.position for reader in readers}
        counts = dict.fromkeys(before, 0)
        messages: list[Message] = []
        size = 0
        while True:
            found = 0
            for reader in readers:
                part = reader.read(min(_CHUNK_MESSAGES, most - len(messages)), _WAIT_MS)
                found += len(part)
                counts[reader.partition] += len(part)
                messages += part
                size += sum(map(payload_length, part))
                if len(messages) >= most or size >= self._settings.rebuild_batch_bytes:
                    return ReadBatch(messages, self._steps(before, counts))
            if time.monotonic() >= deadline:
                return ReadBatch(messages, self._steps(before, counts))
            if not found and ends and all(reader.has_reached(ends[reader.partition]) for reader in readers):
                return ReadBatch(messages, self._steps(before, counts))
            if not found:
                time.sleep(_IDLE_SECONDS)

    def _steps(self, before: Mapping[int, Position], counts: Mapping[int, int]) -> list[PartitionStep]:
        return [
            PartitionStep(partition, before[partition], self._readers[partition].position, count)
            for partition, count in counts.items()
            if count
        ]


def _soon() -> float:
    return time.monotonic() + 0.05


def _joined(parts: Iterable[ReadBatch]) -> ReadBatch:
    """Join parts read one after the other: one step per partition, from the first part's start to the last part's end."""
    messages: list[Message] = []
    steps: dict[int, PartitionStep] = {}
    for part in parts:
        messages += part.messages
        for step in part.steps:
            first = steps.get(step.partition, step)
            events = step.events if first is step else first.events + step.events
            steps[step.partition] = PartitionStep(step.partition, first.before, step.after, events)
    return ReadBatch(messages, list(steps.values()))
