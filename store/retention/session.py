"""The short transactions that retention is made of: their locks, another try when somebody is in the way, rests between.

Who waits for a lock holds up those who come after. So a wait for one is given up soon, and what was done so far is
rolled back; the next try is patient for twice as long.
"""

import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final, NamedTuple, TypeVar

import psycopg
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure

from schemas.errors import StoreError
from store.queries import queries

Result = TypeVar("Result")

QUERIES: Final = queries("retention")
_FIRST_PATIENCE_MS: Final = 50
_LONGEST_PATIENCE_MS: Final = 2_000
_TRIES: Final = 12
_IN_THE_WAY: Final = (LockNotAvailable, DeadlockDetected, SerializationFailure)


class Horizons(NamedTuple):
    """The first days that are kept: of all there is, and of jobs that have not ended."""

    horizon: date
    open_horizon: date | None
    """Never after the horizon. None: an open job is kept for ever."""

    def parameters(self) -> dict[str, Any]:
        """Return them as the queries take them."""
        return {
            "horizon": start_of(self.horizon),
            "open_horizon": start_of(self.open_horizon) if self.open_horizon else "-infinity",
        }


class RetentionStoppedError(StoreError):
    """It was asked to stop; what is left is removed by the next run."""


class RetentionBlockedError(StoreError):
    """Other sessions held locks in every try; what is left is removed by the next run."""


class Pace:
    """How much of the time retention may be at work: after each transaction it rests."""

    def __init__(
        self,
        share: float = 1.0,
        wait: Callable[[float], bool] | None = None,
    ) -> None:
        """``share``: of the time, above 0, to 1. ``wait``: sleeps for so many seconds; True when it is asked to stop."""
        self._share = share
        self._wait = wait or _sleep

    def rest(self, worked_seconds: float) -> None:
        """Rest after so much work. Raises RetentionStoppedError when asked to stop."""
        self.pause(worked_seconds * (1 / self._share - 1))

    def pause(self, seconds: float) -> None:
        """Wait for so long. Raises RetentionStoppedError when asked to stop."""
        if self._wait(seconds):
            raise RetentionStoppedError(
                "retention was asked to stop; the next run goes on where this one ended"
            )


class Session:
    """A session in autocommit, and how it works: one short transaction after the other."""

    def __init__(
        self,
        connection: psycopg.Connection,
        pace: Pace,
        batch_rows: int,
        reached: Callable[[str], None] = lambda _step: None,
    ) -> None:
        """``batch_rows``: most rows of one transaction; ``reached`` is told each step, before and after its commit."""
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
        lock: str = "take_shared_lock",
    ) -> Result:
        """Do the work in a transaction under the lock of that name, again when somebody is in the way; then rest.

        Raises RetentionBlockedError when that did not help, RetentionStoppedError when asked to stop.
        """
        patience_ms = _FIRST_PATIENCE_MS
        for _ in range(_TRIES):
            began = time.monotonic()
            try:
                with self.connection.transaction():
                    self.connection.execute(QUERIES["set_lock_timeout"], {"milliseconds": patience_ms})
                    self.connection.execute(QUERIES[lock])
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
            f"retention could not {step}: in {_TRIES} tries other sessions kept locks for longer than "
            f"{_LONGEST_PATIENCE_MS / 1_000:g} s (a backup, a long query on attempts, a stopped writer). What is left is "
            "removed by the next run. The oldest xact_start in pg_stat_activity tells who it is."
        )


def start_of(day: date) -> datetime:
    """When a day of UTC begins."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False
