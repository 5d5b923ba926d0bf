"""Checks whether a rebuild may begin, and whether anything would be lost: compares the topic with what the tables cover.

The log shows when its earliest message was published, and its first messages show how old their events were then: seconds, or
years if history was published. Rows that are clearly older may come from events that the topic no longer has. That is not
proof. The proof comes before the swap, which is refused if the live tables have more ends of attempts in an hour than the
rebuilt ones.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import psycopg

from broker.client import Client
from broker.reading import START, PartitionReader, partitions
from broker.registry import WriterSchemas
from broker.topic_log import partition_logs
from consumers.rebuild.context import Broker, RebuildOptions
from schemas.errors import BrokerError, DecodeError
from settings.rebuild import RebuildSettings
from store.connection import OLD_SCHEMA, REBUILD_SCHEMA
from store.rebuild.cover import (
    Cover,
    RowsBefore,
    foreign_objects,
    privilege_problems,
    read_cover,
    rows_before,
)
from store.rebuild.tables import existing_schemas

_FIRST_MESSAGES = 200
_FIRST_WAIT_MS = 2_000
_CLOCKS = timedelta(minutes=10)
_YOUNGER = 0.9
_KEPT_NOTE: Final = f"an earlier rebuild kept the tables it replaced (schema {OLD_SCHEMA}): they are dropped when this one begins"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class TopicCover:
    """What the log has."""

    partitions: int
    entries: int
    bytes: int
    published_from: datetime | None
    """When the earliest message was published; None: the topic is empty."""
    speaks_from: datetime | None
    """Nine of ten of its first messages are about times after this; None: they have no time."""

    @property
    def begins(self) -> datetime | None:
        """A time clearly before the topic's first events. It allows for events twice as old, and for different clocks."""
        if self.published_from is None:
            return None
        age = self.published_from - (self.speaks_from or self.published_from)
        return self.published_from - 2 * max(age, timedelta(0)) - _CLOCKS


@dataclass(frozen=True)
class Preflight:
    """What was found. A rebuild begins when there are no problems."""

    topic: str
    log: TopicCover
    tables: Cover
    history_from: datetime | None
    older: RowsBefore
    """Rows that are older than the topic's first events."""
    given_up: RowsBefore
    """Rows that are older than ``history_from``."""
    problems: list[str]
    notes: list[str]
    """What else a rebuild would do."""

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            **asdict(self),
            "older": self.older._asdict(),
            "given_up": self.given_up._asdict(),
            "tables": self.tables._asdict(),
        }


def preflight(
    settings: RebuildSettings,
    broker: Broker,
    connection: psycopg.Connection,
    options: RebuildOptions,
    *,
    is_open: bool,
    open_from: datetime | None = None,
) -> Preflight:
    """Examine the topic and the tables; change nothing. ``is_open``: an open rebuild reads the topic from ``open_from``.

    Raises BrokerError when the broker does not answer.
    """
    history_from = options.history_from or open_from
    log = _topic_cover(settings, broker)
    tables = read_cover(connection)
    older = rows_before(connection, log.begins or datetime.now(UTC))
    schemas = existing_schemas(connection)
    problems = [
        *privilege_problems(connection),
        *_left_over(schemas, is_open),
        *_foreign_objects_problems(connection),
    ]
    if not options.accept_loss:
        problems += _history_problems(log, tables, older, history_from)
    return Preflight(
        topic=settings.topic,
        log=log,
        tables=tables,
        history_from=history_from,
        older=older,
        given_up=rows_before(connection, history_from) if history_from else RowsBefore(0, 0, 0),
        problems=problems,
        notes=[_KEPT_NOTE] if OLD_SCHEMA in schemas and not is_open else [],
    )


def _history_problems(
    log: TopicCover, tables: Cover, older: RowsBefore, history_from: datetime | None
) -> list[str]:
    begins = log.published_from
    if begins is None:
        if tables.earliest is None:
            return []
        return [
            f"the topic is empty, and the tables have {_rows(older)}: all of it would be lost. Is JOBTRAIL_TOPIC right? "
            "`--accept-loss` continues all the same"
        ]
    if history_from is not None:
        if history_from < begins:
            return [
                f"the topic has events only from {format_time(begins)} on, later than --from {format_time(history_from)}: "
                f"use --from {format_time(begins)} if older data may be lost"
            ]
        return []
    if not any(older):
        return []
    return [
        f"the topic begins with events published from {format_time(begins)} on, and the tables reach back to "
        f"{format_time(tables.earliest)}: {_rows(older)} are older than anything the topic begins with, and would be lost "
        f"unless they were published late. `--from {format_time(begins)}` accepts that loss"
    ]


def _left_over(there: set[str], is_open: bool) -> list[str]:
    problems = []
    if REBUILD_SCHEMA in there and not is_open:
        problems.append(
            f"the schema {REBUILD_SCHEMA} exists, but no rebuild is under way: DROP SCHEMA {REBUILD_SCHEMA} CASCADE"
        )
    if REBUILD_SCHEMA not in there and is_open:
        problems.append(f"the schema {REBUILD_SCHEMA} is gone: start again with --restart")
    return problems


def _foreign_objects_problems(connection: psycopg.Connection) -> list[str]:
    found = foreign_objects(connection)
    if not found:
        return []
    listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more" if len(found) > 5 else "")
    return [
        f"objects that jobtrail did not create are attached to the live tables, and would stay with the old ones: {listed}. "
        "Drop them, and create them again after the rebuild"
    ]


def _topic_cover(settings: RebuildSettings, broker: Broker) -> TopicCover:
    numbers = partitions(broker.client, settings)
    if not numbers:
        raise BrokerError(
            f"{settings.topic} has no partitions: run `jobtrail provision`, or correct JOBTRAIL_TOPIC."
        )
    logs = partition_logs(broker.admin, settings, numbers)
    published: list[datetime] = []
    ages: list[timedelta] = []
    for number in numbers:
        if logs[number].entries:
            for time, age in _first_messages(settings, broker.client, number):
                published.append(time)
                ages += age
    earliest = min(published, default=None)
    ages.sort()
    return TopicCover(
        partitions=len(numbers),
        entries=sum(log.entries for log in logs.values()),
        bytes=sum(log.bytes for log in logs.values()),
        published_from=earliest,
        speaks_from=earliest - ages[int(len(ages) * _YOUNGER)] if earliest and ages else None,
    )


def _first_messages(
    settings: RebuildSettings, client: Client, partition: int
) -> Iterator[tuple[datetime, list[timedelta]]]:
    """Yield when each first message of a partition was published, and how old its event was then, if it can be decoded."""
    reader = PartitionReader(client, settings, partition, START, _FIRST_MESSAGES)
    try:
        messages = reader.read(1, _FIRST_WAIT_MS) + reader.read(_FIRST_MESSAGES - 1, 20)
    finally:
        reader.close()
    schemas = WriterSchemas(client, settings)
    for message in messages:
        published = _EPOCH + timedelta(milliseconds=message.publish_timestamp())
        try:
            occurred = _EPOCH + timedelta(microseconds=schemas.decode(message).occurred_at)
        except (DecodeError, OverflowError):
            yield published, []  # a dead letter has no time
        else:
            yield published, [published - occurred]


def _rows(rows: RowsBefore) -> str:
    return f"{rows.attempts:,} attempts, {rows.jobs:,} jobs and {rows.dead_letters:,} dead letters"


def format_time(time: datetime | None) -> str:
    """Return a time in the form that `--from` takes."""
    # Not strftime: its %Y does not pad years before 1000.
    return "nothing" if time is None else time.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"
