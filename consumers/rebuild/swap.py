"""The moment of the swap: nobody else writes while the rest of the log is read, merged, and the names are changed.

All in one transaction, so a kill leaves either the old tables or the new ones. Under the exclusive lock no aggregator has a
batch under way, and what one has acknowledged was committed before, so it was in the log before the lock: reading every
partition to the end that it has now misses nothing. Aggregators wait meanwhile and go on with the new tables; what they
have in hand is in those already, and changes nothing.

The moment is short or it is given up: the locks, the reading and every statement have a limit.
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
"""More than this is not read while writers wait."""

_IDLE_SECONDS = 10
"""A rebuild that is stopped in the moment (SIGSTOP, a hung host) loses its session, and the writers go on."""


class Outcome(Enum):
    """How a try ended."""

    DONE = "done"
    AGAIN = "again"


@dataclass(frozen=True)
class SwapTry:
    """``left``: what was read and not written, to be applied as usual."""

    outcome: Outcome
    why: str
    left: ReadBatch


class Swapper:
    """Tries to swap the rebuilt tables with the live ones. Its session lives as long as the rebuild follows."""

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
        """For how long writers were held up by the try that succeeded, at most."""
        self._connection = connect(context.settings, APPLICATION, schema=REBUILD_SCHEMA)
        prepare_session(self._connection)

    def close(self) -> None:
        """End the session."""
        self._connection.close()

    def swap(self, source: Source, applier: Applier) -> SwapTry:
        """One try; all that was read has been committed before.

        Raises StoreError when the live tables know what the rebuilt ones do not, or the database was migrated meanwhile.
        """
        connection = self._connection
        left = ReadBatch([], [])
        suspicious = self._missing_before()
        copy_privileges(connection)  # most of it here, where nobody waits
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
                "they are of the old release. Start anew with `jobtrail rebuild --restart`."
            )

    def _read_rest(self, source: Source, deadline: float) -> tuple[ReadBatch, str]:
        """To the end that every partition has now; and why not, if not."""
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
            raise StoreError("asked to stop in the moment of the swap: nothing was changed.")
        batch = fold_whole_log(received.events, received.dead_letters, read_horizon(self._connection))
        begin(self._connection, batch, staged(batch), REACHED_IF_ENABLED)
        merge(self._connection, batch, REACHED_IF_ENABLED)
        advance(self._connection, self._rebuild.id, taken.steps, batch.expired, len(batch.dead_letters))

    def _missing_before(self) -> MissingHours:
        """What seems to be missing before the rest is read: mostly what is still on its way."""
        found = missing_hours(self._connection, self._bound(), None)
        self._connection.commit()
        return found

    def _check_missing(self, suspicious: MissingHours) -> None:
        """Of those hours alone: while writers wait there is no time for all of them."""
        if not suspicious.hours or self._accept_loss:
            return
        missing = missing_hours(self._connection, suspicious.first, suspicious.last)
        if missing.attempts:
            raise StoreError(
                f"the live tables know {missing.attempts:,} ends of attempts that the topic does not have, in "
                f"{missing.hours:,} hours from {missing.first} to {missing.last}: its history is gone, or dead letters were "
                "retried with what the broker no longer has. Nothing was changed. `jobtrail rebuild --accept-loss` swaps "
                "all the same; `--abandon` gives the rebuild up."
            )
