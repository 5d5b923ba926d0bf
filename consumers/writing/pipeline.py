"""Writes batches on two connections in turn: while one is merged, the next is copied to its stage tables, and one more is folded.

The calling thread folds, and formats the rows for COPY. A thread per connection does the rest of the transaction; it waits
for Postgres nearly all the time, which releases the GIL. Batches are merged one after the other, in the order they came. The
calling thread writes failed batches again, one at a time. Applying a batch twice changes nothing, so a commit with an
unknown result is simply repeated.
"""

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import psycopg
import structlog

from consumers.process.barriers import REACHED_IF_ENABLED, reached
from consumers.process.outage import OutageLog
from consumers.process.stop import Pauses, Stop
from consumers.receiving.decode import Received
from consumers.writing.isolation import Fold, write_isolating
from derive.fold import fold
from derive.rows import Batch, Written
from schemas.errors import StoreError
from store.failures import AWAY, REFUSED, TRANSIENT, one_line
from store.steps import Step
from store.writing.stage import Staged, staged
from store.writing.writer import (
    HorizonMovedError,
    begin,
    merge,
    prepare_session,
    read_horizon,
)

log = structlog.get_logger(__name__)

ExtraWrite = Callable[[psycopg.Connection, Batch], None]
"""Writes more in a batch's transaction, after its rows, such as how far a rebuild has read. Must be idempotent."""

_CONNECTIONS = 2


@dataclass(frozen=True)
class Committed:
    """A batch that is committed in Postgres: its messages may be acknowledged."""

    received: Received
    batch: Batch
    written: Written


class _Progress(NamedTuple):
    """The progress of a batch, for the batch behind it to wait for."""

    locked: threading.Event
    """Set when it has the writers' lock, or will never acquire it."""
    written: "Future[Written]"


class _Unwritten(NamedTuple):
    """A batch whose transaction failed, to be written again."""

    received: Received
    batch: Batch
    extra_write: ExtraWrite | None


@dataclass
class _InFlight:
    received: Received
    batch: Batch
    extra_write: ExtraWrite | None
    connection: psycopg.Connection
    progress: _Progress
    since: float
    """When its writing started, by the monotonic clock."""


class Pipeline:
    """Accepts received batches and returns committed ones in the same order. Used by one thread."""

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        stop: Stop,
        longest_pause_seconds: float,
        on_database: Callable[[str | None], None] = lambda _why: None,
        folded: Fold = fold,
    ) -> None:
        """``connect`` opens a session. ``on_database`` is called with None while the database works, else with the reason.

        ``folded`` turns a batch into rows; a rebuild has its own.
        """
        self._connect = connect
        self._stop = stop
        self._longest_pause = longest_pause_seconds
        self._on_database = on_database
        self._folded = folded
        self._outage = OutageLog(
            "database_away", "database_back", "tries again every few seconds; nothing is lost"
        )
        self._writers = ThreadPoolExecutor(max_workers=_CONNECTIONS, thread_name_prefix="write")
        self._free: deque[psycopg.Connection] = deque()
        self._in_flight: deque[_InFlight] = deque()
        self._committed: list[Committed] = []
        """Committed batches that `poll` has not returned yet."""
        self._horizon_us: int | None = None
        self._asked_at: float | None = None
        """When the calling thread began to wait for the database, by the monotonic clock; None when it does not wait."""

    def open(self) -> bool:
        """Connect, waiting while the database is away. Return False if the service was asked to stop meanwhile."""
        if not self._connect_all():
            return False
        self._on_database(None)
        self._outage.ended()
        return True

    def submit(self, received: Received, extra_write: ExtraWrite | None = None) -> None:
        """Fold a batch and start writing it. Waits until one of the sessions is free."""
        batch = self._folded(received.events, received.dead_letters, self._horizon_us)
        reached(Step.AFTER_FOLD)
        rows = staged(batch)
        if not self._free:
            self._finish_first()
        if not self._free:
            return  # asked to stop while the database is away: this batch is not acknowledged either
        connection = self._free.popleft()
        before = self._in_flight[-1].progress if self._in_flight else None
        locked = threading.Event()
        written = self._writers.submit(_write, connection, batch, rows, extra_write, before, locked)
        progress = _Progress(locked, written)
        self._in_flight.append(
            _InFlight(received, batch, extra_write, connection, progress, time.monotonic())
        )

    def poll(self) -> list[Committed]:
        """Return the batches committed since the last call, in the order of submission, without waiting."""
        while self._in_flight and self._in_flight[0].progress.written.done():
            self._finish_first()
        committed, self._committed = self._committed, []
        return committed

    def join(self) -> list[Committed]:
        """Wait until every submitted batch is committed, and return them like `poll`.

        If asked to stop while the database is away, drop the batches left, which were not acknowledged.
        """
        while self._in_flight:
            self._finish_first()
        return self.poll()

    def silent_seconds(self) -> float:
        """Return how many seconds we have waited for an answer of the database; 0 if we do not wait. Any thread may call it."""
        waiting = [flight.since for flight in tuple(self._in_flight)]
        asked_at = self._asked_at
        if asked_at is not None:
            waiting.append(asked_at)
        return time.monotonic() - min(waiting) if waiting else 0.0

    @property
    def is_empty(self) -> bool:
        """Whether everything submitted has been committed and returned."""
        return not self._in_flight and not self._committed

    def close(self) -> None:
        """End the threads and the sessions."""
        self._writers.shutdown(wait=True)
        for connection in (*self._free, *(flight.connection for flight in self._in_flight)):
            connection.close()
        self._free.clear()
        self._in_flight.clear()

    def _session(self) -> psycopg.Connection:
        self._asked_at = time.monotonic()
        try:
            connection = self._connect()
            try:
                prepare_session(connection)
                self._horizon_us = read_horizon(connection)
                connection.rollback()
            except BaseException:
                connection.close()  # otherwise it stays open during the pause, because the error refers to it
                raise
        finally:
            self._asked_at = None
        return connection

    def _finish_first(self) -> None:
        """Wait for the oldest batch in flight. If it failed, write it and those behind it again."""
        flight = self._in_flight[0]
        try:
            written = flight.progress.written.result()
        except (HorizonMovedError, *REFUSED, *TRANSIENT, *AWAY) as error:
            # Let the batches behind it finish, then write all of them again in their order.
            behind = list(self._in_flight)[1:]
            self._in_flight.clear()
            again = [_Unwritten(flight.received, flight.batch, flight.extra_write)]
            self._free.append(flight.connection)
            for other in behind:
                other.progress.written.exception()  # waits until its thread is done with it
                self._free.append(other.connection)
                again.append(_Unwritten(other.received, other.batch, other.extra_write))
            # Without the traceback: the batch's future refers to the error, and its frames to the batches.
            self._write_again(again, error.with_traceback(None))
            return
        self._in_flight.popleft()
        self._free.append(flight.connection)
        self._committed.append(Committed(flight.received, flight.batch, written))

    def _write_again(self, batches: list[_Unwritten], error: Exception) -> None:
        """Write batches one by one in this thread, through outages. Drop those left when asked to stop."""
        pauses = Pauses(self._longest_pause)
        if isinstance(error, HorizonMovedError):
            log.info("horizon_moved", then="folds the batches in progress again")
        else:
            log.warning(
                "batch_failed", error=one_line(error), then="writes it again; nothing was acknowledged"
            )
        left = deque(batches)
        while left:
            received, batch, extra_write = left[0]
            try:
                connection = self._working_connection()
                if connection is None:
                    return
                self._committed.append(self._write_now(connection, left[0]))
                left.popleft()
            except HorizonMovedError as moved:
                self._horizon_us = moved.horizon_us
                batch = self._folded(received.events, received.dead_letters, moved.horizon_us)
                left[0] = _Unwritten(received, batch, extra_write)
            except AWAY as away:
                self._on_database(one_line(away))
                self._outage.failed(one_line(away))
                self._close_all()
                if self._stop.wait(pauses.next_seconds()):
                    return
        self._on_database(None)
        self._outage.ended()

    def _write_now(self, connection: psycopg.Connection, unwritten: _Unwritten) -> Committed:
        received, batch, extra_write = unwritten
        self._asked_at = time.monotonic()
        try:
            batch, written = write_isolating(connection, received, batch, self._folded)
            if extra_write is not None:
                extra_write(connection, batch)
                connection.commit()
        finally:
            self._asked_at = None
        return Committed(received, batch, written)

    def _working_connection(self) -> psycopg.Connection | None:
        if not self._free or any(connection.closed or connection.broken for connection in self._free):
            self._close_all()
            if not self._connect_all():
                return None
        return self._free[0]

    def _connect_all(self) -> bool:
        """As `open`, without saying that the database works: only a batch that is written shows that."""
        pauses = Pauses(self._longest_pause)
        while not self._stop.requested:
            try:
                while len(self._free) < _CONNECTIONS:
                    self._free.append(self._session())
                return True
            except (StoreError, *AWAY) as error:
                self._close_all()
                if not isinstance(error, AWAY) and not isinstance(error.__cause__, psycopg.OperationalError):
                    raise
                self._on_database(str(error))
                self._outage.failed(str(error))
                self._stop.wait(pauses.next_seconds())
        return False

    def _close_all(self) -> None:
        for connection in self._free:
            connection.close()
        self._free.clear()


def _write(
    connection: psycopg.Connection,
    batch: Batch,
    rows: Staged,
    extra_write: ExtraWrite | None,
    before: _Progress | None,
    locked: threading.Event,
) -> Written:
    """Run one batch's transaction. Merge when the previous batch is committed; roll back if that one failed."""
    try:
        if before is not None:
            # Don't take the shared lock before the previous batch has it: an exclusive waiter queued between the two
            # would deadlock with us, and Postgres cannot see the half of it that waits here in Python.
            before.locked.wait()
        begin(connection, batch, rows, REACHED_IF_ENABLED, locked.set)
        if before is not None:
            before.written.result()
        written = merge(connection, batch, REACHED_IF_ENABLED)
        if extra_write is not None:
            extra_write(connection, batch)
        reached(Step.BEFORE_COMMIT)
        connection.commit()
    except BaseException:
        _roll_back(connection)
        raise
    finally:
        locked.set()
    return written


def _roll_back(connection: psycopg.Connection) -> None:
    if not connection.closed:
        try:
            connection.rollback()
        except AWAY:
            connection.close()
