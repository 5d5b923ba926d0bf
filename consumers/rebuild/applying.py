"""Turns messages into rows of the rebuilt tables: decodes, creates partitions for their days, writes on two connections in turn.

A commit need not be on disk before the next batch begins. If Postgres crashes, it loses the rows together with the position,
so they are read again. The swap's commit, which does wait for the disk, comes after all others in Postgres's log.
"""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from functools import partial

import psycopg
import structlog

from broker.client import Client
from broker.registry import WriterSchemas
from consumers.process.stop import Stop
from consumers.rebuild.source import ReadBatch
from consumers.receiving.decode import Received, decode_batch
from consumers.writing.pipeline import Pipeline
from derive.fold import fold_whole_log
from derive.rows import Batch
from schemas.contract import FINISHED, Event
from schemas.errors import StoreError
from settings.rebuild import RebuildSettings
from store.connection import REBUILD_SCHEMA, connect
from store.partitions import DAYS_AHEAD, ensure_days
from store.rebuild.state import PartitionStep, advance

log = structlog.get_logger(__name__)

APPLICATION = "jobtrail rebuild"
_DAY_US = 24 * 60 * 60 * 1_000_000
_EPOCH = date(1970, 1, 1)
_MOST_DAYS_BACK = 400
"""Days further back get no partition, as in the live tables: a wrong clock can name any day."""


def open_session(settings: RebuildSettings) -> psycopg.Connection:
    """Open a session that writes to the rebuilt tables without waiting for the disk."""
    connection = connect(settings, APPLICATION, schema=REBUILD_SCHEMA)
    connection.execute("SET synchronous_commit = off")
    connection.commit()
    return connection


class Applier:
    """Takes batches in order. They are committed after ``drain``. Used by one thread."""

    def __init__(
        self,
        settings: RebuildSettings,
        client: Client,
        rebuild: int,
        stop: Stop,
        on_wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._rebuild = rebuild
        self._stop = stop
        self._on_wait = on_wait
        self.schemas = WriterSchemas(client, settings)
        self._days: set[int] = set()
        self._pipeline = Pipeline(
            partial(open_session, settings),
            stop,
            settings.rebuild_retry_longest_seconds,
            folded=fold_whole_log,
        )

    def open(self) -> bool:
        """Connect. Return False if asked to stop while the database was away."""
        return self._pipeline.open()

    def decode(self, taken: ReadBatch) -> Received | None:
        """Return the events and dead letters; None if asked to stop while the broker gave no schema."""
        return decode_batch(
            taken.messages,
            self.schemas,
            self._stop,
            self._settings.rebuild_retry_longest_seconds,
            self._on_wait,
        )

    def take(self, taken: ReadBatch) -> None:
        """Write a batch, together with its positions. What is not written when a stop is requested is read again."""
        if not taken.messages:
            return
        received = self.decode(taken)
        if received is None:
            return
        self._make_days(received.events)
        self._pipeline.submit(received, partial(store_positions, self._rebuild, taken.steps))
        self._pipeline.poll()  # the result is not needed: the position is in the batch's own transaction

    def drain(self) -> None:
        """Wait until every batch taken is committed."""
        self._pipeline.join()

    def close(self) -> None:
        """End the sessions."""
        self._pipeline.close()

    def _make_days(self, events: list[Event]) -> None:
        """Create the partitions of `attempts` for the days of these events. If that fails, the rows go to the default partition."""
        met = {event.occurred_at // _DAY_US for event in events if event.state in FINISHED}
        new = met - self._days
        if not new:
            return
        self._days |= new
        today = (datetime.now(UTC).date() - _EPOCH).days
        wanted = [day for day in sorted(new) if today - _MOST_DAYS_BACK <= day <= today + DAYS_AHEAD]
        if not wanted:
            return
        try:
            with open_session(self._settings) as connection:
                for day in wanted:
                    ensure_days(connection, _date(day), _date(day))
        except (psycopg.Error, StoreError) as error:
            self._days -= set(wanted)
            log.warning(
                "partitions_not_created", error=str(error).strip(), then="tries again with the next batch"
            )


def store_positions(
    rebuild: int, steps: list[PartitionStep], connection: psycopg.Connection, batch: Batch
) -> None:
    """Store a batch's positions, in its transaction."""
    advance(connection, rebuild, steps, batch.expired, len(batch.dead_letters))


def _date(day: int) -> date:
    return _EPOCH + timedelta(days=day)
