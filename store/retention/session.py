"""Retention's short transactions: their locks, retries when another session blocks them, and pauses between them.

A queued lock request blocks everyone behind it. So retention waits only briefly for a lock, then rolls back. The next try
waits twice as long.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from schemas.errors import StoreError
from store.locks import Lock, acquire, acquire_shared
from store.queries import queries

Result = TypeVar("Result")

QUERIES: Final = queries("retention")
_FIRST_PATIENCE_MS: Final = 50
_LONGEST_PATIENCE_MS: Final = 2_000
_TRIES: Final = 12
_IN_THE_WAY: Final = (LockNotAvailable, DeadlockDetected, SerializationFailure)


class Horizons(NamedTuple):
    """The first days that are kept: the horizon, and that of open jobs, which are kept for longer."""

    horizon: date
    open_horizon: date | None
    """Never after the horizon. None: open jobs are kept for ever."""

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the queries."""
        return {
            "horizon": start_of(self.horizon),
            "open_horizon": start_of(self.open_horizon) if self.open_horizon else "-infinity",
        }


class RetentionStoppedError(StoreError):
    """Retention was asked to stop. The next run continues."""


class RetentionBlockedError(StoreError):
    """Other sessions held locks in every try. The next run continues."""


class Pace:
    """Limits the share of the time that retention works, by a pause after each transaction."""

    def __init__(
        self,
        share: float = 1.0,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """``share`` of the time: above 0 and at most 1. ``wait`` sleeps for some seconds; it returns True when asked to stop."""
        self._share = share
        self._wait = wait or _sleep

    def rest(self, worked_seconds: float) -> None:
        """Pause after some seconds of work. Raises RetentionStoppedError when asked to stop."""
        self.pause(worked_seconds * (1 / self._share - 1))

    def pause(self, seconds: float) -> None:
        """Pause for some seconds. Raises RetentionStoppedError when asked to stop."""
        if self._wait(seconds):
            raise RetentionStoppedError(
                "retention was asked to stop; the next run continues where this one ended"
            )


def lock_as_writer(connection: psycopg.Connection) -> None:
    """Acquire the lock that every writer of derived tables acquires."""
    acquire_shared(connection, Lock.DERIVED)


def lock_partitions(connection: psycopg.Connection) -> None:
    """Acquire the locks for changes to partitions and to the aggregates of their rows."""
    acquire(connection, Lock.PARTITIONS)
    acquire_shared(connection, Lock.DERIVED)


def lock_writers_out(connection: psycopg.Connection) -> None:
    """Wait until no writer that has read the horizon is left. New writers wait behind this session."""
    acquire(connection, Lock.DERIVED)


class Session:
    """Runs short transactions one after the other, on a session in autocommit."""

    def __init__(
        self,
        connection: psycopg.Connection,
        pace: Pace,
        batch_rows: int,
        reached: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """``batch_rows``: most rows of one transaction. ``reached`` is called before and after the commit of each step."""
        self.connection = connection
        self.pace = pace
        self.batch_rows = batch_rows
        self.reached = reached
        for query in queries("retention_stage").values():
            connection.execute(query)

    def transaction(
        self,
        step: str,
        work: Callable[[psycopg.Connection], Result],
        locked: Callable[[psycopg.Connection], None] = lock_as_writer,
    ) -> Result:
        """Run ``work`` in a transaction under the locks that ``locked`` acquires. Retry while other sessions block it; then pause.

        Raises RetentionBlockedError after too many tries, RetentionStoppedError when asked to stop.
        """
        patience_ms = _FIRST_PATIENCE_MS
        for _ in range(_TRIES):
            began = time.monotonic()
            try:
                with self.connection.transaction():
                    self.connection.execute(QUERIES["set_lock_timeout"], {"milliseconds": patience_ms})
                    locked(self.connection)
                    result = work(self.connection)
                    self.reached(f"{step}: before commit")
            except _IN_THE_WAY:
                self.pace.pause(4 * patience_ms / 1_000)
                patience_ms = min(2 * patience_ms, _LONGEST_PATIENCE_MS)
                continue
            self.reached(f"{step}: after commit")
            self.pace.rest(time.monotonic() - began)
            return result
        raise RetentionBlockedError(
            f"retention could not {step}: in {_TRIES} tries, other sessions held locks for longer than "
            f"{_LONGEST_PATIENCE_MS / 1_000:g} s (a backup, a long query on attempts, a stopped writer). The next run "
            "continues. Look for the oldest xact_start in pg_stat_activity."
        )


def start_of(day: date) -> datetime:
    """Return when a day of UTC begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
