"""The swap: no other process writes while the rest of the log is read and merged, and the names are changed.

All of this is one transaction, so a kill leaves either the old tables or the new ones. Under the exclusive lock no aggregator
is writing a batch. What an aggregator has acknowledged was committed before, so it was in the log before the lock. So reading
every partition to its current end misses nothing. Aggregators wait meanwhile, then continue with the new tables, which
already have their batches in progress; writing these again changes nothing.

The swap is short, or it is rolled back: the locks, the reading and every statement have a limit.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

import structlog
from psycopg.errors import QueryCanceled

from broker.reading import partitions
from broker.topic_log import last_positions
from consumers.process.barriers import REACHED_IF_ENABLED, reached
from consumers.rebuild.applying import APPLICATION, Applier
from consumers.rebuild.context import Broker, Context
from consumers.rebuild.source import ReadBatch, Source
from derive.fold import fold_whole_log
from schemas.errors import StoreError
from store.connection import REBUILD_SCHEMA, connect
from store.failures import IN_THE_WAY, REFUSED, one_line
from store.migrate import applied_version
from store.rebuild.cover import MissingHours, missing_hours
from store.rebuild.privileges import copy_privileges
from store.rebuild.state import Rebuild, State, advance, set_state
from store.rebuild.tables import lock_all_out, swap
from store.steps import Step
from store.writing.stage import staged
from store.writing.writer import begin, merge, prepare_session, read_horizon

log = structlog.get_logger(__name__)

_MOST_EVENTS = 50_000
"""Most messages to read while writers wait."""

_IDLE_SECONDS = 10
"""A rebuild that is stopped during the swap (SIGSTOP, a hung host) loses its session, and the writers continue."""


class Outcome(Enum):
    """How a try to swap ended."""

    DONE = "done"
    AGAIN = "again"


@dataclass(frozen=True)
class SwapTry:
    """The result of a try. ``left``: messages that were read but not written, to be applied as usual."""

    outcome: Outcome
    why: str
    left: ReadBatch


class Swapper:
    """Tries to swap the rebuilt tables with the live ones. Its session lives as long as the phase `follow`."""

    def __init__(
        self,
        context: Context,
        broker: Broker,
        rebuild: Rebuild,
        bound: Callable[[], datetime | None],
    ) -> None:
        """``bound`` returns the time before which rows may be missing."""
        self._settings = context.settings
        self._broker = broker
        self._rebuild = rebuild
        self._bound = bound
        self._accept_loss = context.options.accept_loss
        self.held_seconds = 0.0
        """How long the successful try blocked writers, at most."""
        self._connection = connect(context.settings, APPLICATION, schema=REBUILD_SCHEMA)
        prepare_session(self._connection)

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def swap(self, source: Source, applier: Applier) -> SwapTry:
        """Try once. Everything read before must be committed.

        Raises StoreError when the live tables have more than the rebuilt ones, or the database was migrated meanwhile.
        """
        connection = self._connection
        left = ReadBatch([], [])
        suspicious = self._missing_before()
        copy_privileges(connection)  # most of the work is done here, where no writer waits
        connection.commit()
        reached(Step.BEFORE_SWAP)
        started = time.monotonic()
        try:
            self._limit_session()
            lock_all_out(connection)
            self._check_version()
            taken, problem = self._read_rest(source, started + self._settings.rebuild_swap_seconds)
            left = taken
            if problem:
                connection.rollback()
                return SwapTry(Outcome.AGAIN, problem, left)
            self._write(taken, applier)
            self._check_missing(suspicious)
            copy_privileges(connection)
            swap(connection)
            set_state(connection, self._rebuild.id, State.SWAPPED)
            reached(Step.DURING_SWAP)
            connection.commit()
        except (QueryCanceled, *IN_THE_WAY, *REFUSED) as error:
            connection.rollback()
            return SwapTry(Outcome.AGAIN, one_line(error), left)
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        self.held_seconds = time.monotonic() - started
        reached(Step.AFTER_SWAP)
        return SwapTry(Outcome.DONE, "", ReadBatch([], []))

    def _limit_session(self) -> None:
        milliseconds = round(self._settings.rebuild_swap_seconds * 1000)
        for name, value in (
            ("lock_timeout", milliseconds),
            ("statement_timeout", 2 * milliseconds),
            ("idle_in_transaction_session_timeout", _IDLE_SECONDS * 1000),
        ):
            self._connection.execute("SELECT set_config(%s, %s, true)", [name, f"{value}ms"])

    def _check_version(self) -> None:
        found = applied_version(self._connection)
        if found != self._rebuild.migration:
            raise StoreError(
                f"the database was migrated from {self._rebuild.migration} to {found} while the tables were rebuilt: "
                "they are of the old release. Start again with `jobtrail rebuild --restart`."
            )

    def _read_rest(self, source: Source, deadline: float) -> tuple[ReadBatch, str]:
        """Read every partition to its current end. Return the batch, and why it is not complete ('' if it is)."""
        numbers = partitions(self._broker.client, self._settings)
        if set(numbers) != set(source.positions):
            return ReadBatch([], []), "the topic has grown by a partition"
        ends = last_positions(self._broker.admin, self._settings, numbers)
        taken, whole = source.rest_up_to(ends, _MOST_EVENTS, deadline)
        if whole and time.monotonic() <= deadline:
            return taken, ""
        return taken, (
            f"{len(taken.messages):,} events were read in {self._settings.rebuild_swap_seconds} s, and more were left"
        )

    def _write(self, taken: ReadBatch, applier: Applier) -> None:
        if not taken.messages:
            return
        received = applier.decode(taken)
        if received is None:
            raise StoreError("asked to stop during the swap: nothing was changed.")
        batch = fold_whole_log(received.events, received.dead_letters, read_horizon(self._connection))
        begin(self._connection, batch, staged(batch), REACHED_IF_ENABLED)
        merge(self._connection, batch, REACHED_IF_ENABLED)
        advance(self._connection, self._rebuild.id, taken.steps, batch.expired, len(batch.dead_letters))

    def _missing_before(self) -> MissingHours:
        """Return what seems to be missing before the rest is read: mostly events that are still to be read."""
        found = missing_hours(self._connection, self._bound(), None)
        self._connection.commit()
        return found

    def _check_missing(self, suspicious: MissingHours) -> None:
        """Check only those hours: while writers wait there is no time for all of them. Raises StoreError."""
        if not suspicious.hours or self._accept_loss:
            return
        missing = missing_hours(self._connection, suspicious.first, suspicious.last)
        if missing.attempts:
            raise StoreError(
                f"the live tables have {missing.attempts:,} ends of attempts that the topic does not have, in "
                f"{missing.hours:,} hours from {missing.first} to {missing.last}: its history was deleted, or dead letters were "
                "retried with schemas that the broker no longer has. Nothing was changed. `jobtrail rebuild --accept-loss` swaps "
                "all the same; `--abandon` drops the rebuild."
            )
