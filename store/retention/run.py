"""One run of retention: advance the horizon, remove what is before it, make the partitions of the days that are kept.

It may break off anywhere and be started again: what it does next is told by the tables alone. One run at a time.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable

from schemas.errors import StoreError
from store.partitions import DAYS_AHEAD, ensure_days
from store.retention.attempts import AT_ONCE, RemovedAttempts, remove_days
from store.retention.jobs import RemovedJobs, remove_dead_letters, remove_jobs
from store.retention.session import QUERIES, Pace, Session, start_of


class Standing(NamedTuple):
    """How far retention has come."""

    horizon: date | None
    """None: nothing has been given up yet."""
    cleared_before: date | None
    """Up to here everything has been removed from these tables; None: nothing has."""
    today: date
    """By the database's clock or this host's, whichever is behind: a clock that is ahead must not cost any history."""
    tables: int
    """Which tables these are. A rebuild's swap puts others in their place."""

    def wanted(self, keep_days: int) -> date | None:
        """The horizon that keeps so many whole days before today; it never moves back."""
        if not keep_days:
            return self.horizon
        aim = self.today - timedelta(days=keep_days)
        return max(aim, self.horizon) if self.horizon else aim

    def is_done(self, keep_days: int) -> bool:
        """Is there nothing to do?"""
        wanted = self.wanted(keep_days)
        return not keep_days or (wanted == self.horizon and wanted == self.cleared_before)


@dataclass
class Done:
    """What a run did. Kept up to date while it works."""

    horizon_before: date | None = None
    horizon: date | None = None
    busy: bool = False
    """Another run is at work: nothing was done here."""
    attempts: RemovedAttempts = field(default_factory=RemovedAttempts)
    rows: RemovedJobs = field(default_factory=RemovedJobs)


def standing(connection: psycopg.Connection) -> Standing:
    """How far retention has come. Raises StoreError when the tables say nothing of it."""
    row = connection.execute(QUERIES["standing"]).fetchone()
    if row is None:
        raise StoreError(
            "jobtrail_control.horizon or jobtrail.derivation has no row: restore it, or run `jobtrail migrate`"
        )
    horizon, cleared_before, today, tables = row
    return Standing(horizon, cleared_before, min(today, datetime.now(UTC).date()), tables)


def retain(
    connection: psycopg.Connection,
    keep_days: int,
    *,
    pace: Pace | None = None,
    batch_rows: int = 5_000,
    reached: Callable[[str], None] = lambda _step: None,
    done: Done | None = None,
) -> Done:
    """Give up what is older than ``keep_days`` whole days (0: nothing), on a session in autocommit that is ours alone.

    ``done`` is filled, also when the run breaks off. Raises RetentionStoppedError, RetentionBlockedError, StoreError.
    """
    now = standing(connection)
    done = done or Done()
    done.horizon_before = done.horizon = now.horizon
    wanted = now.wanted(keep_days)
    if wanted is None or now.is_done(keep_days):
        return done
    give_up(connection, wanted, pace=pace, batch_rows=batch_rows, reached=reached, done=done)
    with suppress(LockNotAvailable):  # a later run makes them; until then rows of these days are strays
        ensure_days(connection, wanted, now.today + timedelta(days=DAYS_AHEAD))
    return done


def give_up(
    connection: psycopg.Connection,
    horizon: date,
    *,
    pace: Pace | None = None,
    batch_rows: int = 5_000,
    at_once: int = AT_ONCE,
    reached: Callable[[str], None] = lambda _step: None,
    done: Done | None = None,
) -> Done:
    """Advance the horizon to this day, if it is not there yet, and remove all that is before. As `retain` otherwise."""
    done = done or Done()
    if not _ask(connection, "try_to_be_the_only_one"):
        done.busy = True
        return done
    try:
        session = Session(connection, pace or Pace(), batch_rows, reached)
        if (reached_so_far := standing(connection).horizon) is None or reached_so_far < horizon:
            advance(session, horizon)
        done.horizon = horizon
        # Once as a rule; again for the tables that a rebuild put in the place of those that were there.
        while (now := standing(connection)).cleared_before is None or now.cleared_before < horizon:
            _remove(session, horizon, now.tables, at_once, done)
    finally:
        if not connection.closed:
            _ask(connection, "let_others")
    return done


def advance(session: Session, horizon: date) -> None:
    """Advance the horizon, alone: no writer is between reading it and its commit. It never moves back."""
    session.transaction(
        "advance the horizon",
        lambda connection: (
            connection.execute(QUERIES["advance_horizon"], {"horizon": start_of(horizon)}).rowcount
        ),
        lock="take_exclusive_lock",
    )


def _remove(session: Session, horizon: date, tables: int, at_once: int, done: Done) -> None:
    # Attempts before jobs: whoever has an attempt in the tables has its job's row there as well.
    remove_days(session, horizon, done.attempts, at_once)
    remove_jobs(session, horizon, done.rows)
    remove_dead_letters(session, horizon, done.rows)
    session.transaction(
        "note what was done",
        lambda connection: (
            connection.execute(
                QUERIES["note_cleared"], {"horizon": start_of(horizon), "tables": tables}
            ).rowcount
        ),
    )


def _ask(connection: psycopg.Connection, query: str) -> bool:
    row = connection.execute(QUERIES[query]).fetchone()
    return bool(row and row[0])
