"""Reads from the admin REST where the log of the events ends in each partition, and how large it is."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from urllib.parse import quote

from broker.admin import Admin
from broker.reading import START, Position
from settings.broker import BrokerSettings

_AT_ONCE = 8


@dataclass(frozen=True)
class PartitionLog:
    """One partition. An entry is what a publisher's client sent at once: one message, or up to a few thousand."""

    entries: int
    bytes: int
    ledgers: tuple[tuple[int, int], ...]
    """(ledger, number of entries), in order. The number is 0 for the current ledger, for which it is not known."""

    def entries_up_to(self, position: Position) -> int:
        """Return how many of the entries are at or before a position."""
        before = sum(entries for ledger, entries in self.ledgers if ledger < position.ledger_id)
        return min(self.entries, before + position.entry_id + 1)


def partition_logs(
    broker: Admin, settings: BrokerSettings, partitions: Sequence[int]
) -> dict[int, PartitionLog]:
    """Return the log of each partition. Raises BrokerError."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = threads.map(lambda partition: _log(broker, settings, partition), partitions)
        return dict(zip(partitions, found, strict=True))


def last_positions(broker: Admin, settings: BrokerSettings, partitions: Sequence[int]) -> dict[int, Position]:
    """Return the last message of each partition at this moment; START if there is none. Raises BrokerError."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        found = threads.map(lambda partition: _last(broker, settings, partition), partitions)
        return dict(zip(partitions, found, strict=True))


def _log(broker: Admin, settings: BrokerSettings, partition: int) -> PartitionLog:
    said = broker.get(f"{_path(settings, partition)}/internalStats") or {}
    return PartitionLog(
        entries=said.get("numberOfEntries", 0),
        bytes=said.get("totalSize", 0),
        ledgers=tuple((ledger["ledgerId"], ledger["entries"]) for ledger in said.get("ledgers", ())),
    )


def _last(broker: Admin, settings: BrokerSettings, partition: int) -> Position:
    said = broker.get(f"{_path(settings, partition)}/lastMessageId")
    if said is None:
        return START
    return Position(said["ledgerId"], said["entryId"], said.get("batchIndex", -1))


def _path(settings: BrokerSettings, partition: int) -> str:
    tenant, namespace, topic = settings.topic.removeprefix("persistent://").split("/")
    return "/persistent/" + "/".join(
        quote(part, safe="") for part in (tenant, namespace, f"{topic}-partition-{partition}")
    )
