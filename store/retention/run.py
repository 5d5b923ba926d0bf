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
from store.retention.session import QUERIES, Horizons, Pace, Session


class Standing(NamedTuple):
    """How far retention has come."""

    horizon: date | None
    """None: nothing has been given up yet."""
    open_horizon: date | None
    """That of open jobs, which are kept for longer. None: none has been given up yet."""
    cleared_before: date | None
    """Up to here everything has been removed from these tables; None: nothing has."""
    cleared_open_before: date | None
    """The same for open jobs."""
    today: date
    """By the database's clock or this host's, whichever is behind: a clock that is ahead must not cost any history."""
    tables: int
    """Which tables these are. A rebuild's swap puts others in their place."""

    @property
    def horizons(self) -> Horizons | None:
        """Where they are. None: nothing has been given up yet."""
        return Horizons(self.horizon, self.open_horizon) if self.horizon else None

    def wanted(self, keep_days: int, keep_open_days: int) -> Horizons | None:
        """Return the horizons that keep so many whole days before today; None where nothing is to be given up.

        Neither of them moves back. Zero days keep everything; open jobs are never kept for fewer days than all others.
        """
        if not keep_days:
            return None
        horizon = self.today - timedelta(days=keep_days)
        if self.horizon:
            horizon = max(horizon, self.horizon)
        if not keep_open_days:
            return Horizons(horizon, self.open_horizon)
        open_horizon = self.today - timedelta(days=max(keep_days, keep_open_days))
        return Horizons(horizon, max(open_horizon, self.open_horizon) if self.open_horizon else open_horizon)

    def is_at(self, horizons: Horizons) -> bool:
        """Return whether the horizons are there."""
        return _reaches(self.horizon, horizons.horizon) and _reaches(self.open_horizon, horizons.open_horizon)

    def is_cleared(self, horizons: Horizons) -> bool:
        """Return whether everything before these horizons has been removed from these tables."""
        return _reaches(self.cleared_before, horizons.horizon) and _reaches(
            self.cleared_open_before, horizons.open_horizon
        )


@dataclass
class Done:
    """What a run did. Kept up to date while it works."""

    horizon_before: date | None = None
    horizon: date | None = None
    open_horizon_before: date | None = None
    open_horizon: date | None = None
    busy: bool = False
    """Another run is at work: nothing was done here."""
    attempts: RemovedAttempts = field(default_factory=RemovedAttempts)
    rows: RemovedJobs = field(default_factory=RemovedJobs)


def standing(connection: psycopg.Connection) -> Standing:
    """Return how far retention has come. Raises StoreError when the tables say nothing of it."""
    row = connection.execute(QUERIES["standing"]).fetchone()
    if row is None:
        raise StoreError(
            "jobtrail_control.horizon or jobtrail.derivation has no row: restore it, or run `jobtrail migrate`"
        )
    horizon, open_horizon, cleared_before, cleared_open_before, today, tables = row
    today = min(today, datetime.now(UTC).date())
    return Standing(horizon, open_horizon, cleared_before, cleared_open_before, today, tables)


def retain(
    connection: psycopg.Connection,
    keep_days: int,
    keep_open_days: int,
    *,
    pace: Pace | None = None,
    batch_rows: int = 5_000,
    reached: Callable[[str], None] = lambda _step: None,
    done: Done | None = None,
) -> Done:
    """Give up what is older than ``keep_days`` whole days (0: nothing), on a session in autocommit that is ours alone.

    A run stays while a job of it is open and something was heard of that job in the last ``keep_open_days`` (0: for ever).
    ``done`` is filled, also when the run breaks off. Raises RetentionStoppedError, RetentionBlockedError, StoreError.
    """
    now = standing(connection)
    done = done or Done()
    done.horizon_before = done.horizon = now.horizon
    done.open_horizon_before = done.open_horizon = now.open_horizon
    wanted = now.wanted(keep_days, keep_open_days)
    if wanted is None or (now.is_at(wanted) and now.is_cleared(wanted)):
        return done
    give_up(connection, wanted, pace=pace, batch_rows=batch_rows, reached=reached, done=done)
    with suppress(LockNotAvailable):  # a later run makes them; until then rows of these days are strays
        ensure_days(connection, wanted.horizon, now.today + timedelta(days=DAYS_AHEAD))
    return done


def give_up(
    connection: psycopg.Connection,
    horizons: Horizons,
    *,
    pace: Pace | None = None,
    batch_rows: int = 5_000,
    at_once: int = AT_ONCE,
    reached: Callable[[str], None] = lambda _step: None,
    done: Done | None = None,
) -> Done:
    """Advance the horizons to these days, if they are not there yet, and remove all that is before. As `retain` otherwise."""
    done = done or Done()
    if not _ask(connection, "try_to_be_the_only_one"):
        done.busy = True
        return done
    try:
        session = Session(connection, pace or Pace(), batch_rows, reached)
        if not standing(connection).is_at(horizons):
            advance(session, horizons)
        horizons = standing(connection).horizons or horizons  # they may have been further on already
        done.horizon, done.open_horizon = horizons
        # Once as a rule; again for the tables that a rebuild put in the place of those that were there.
        while not (now := standing(connection)).is_cleared(horizons):
            _remove(session, horizons, now.tables, at_once, done)
    finally:
        if not connection.closed:
            _ask(connection, "let_others")
    return done


def advance(session: Session, horizons: Horizons) -> None:
    """Advance the horizons, alone: no writer is between reading them and its commit. They never move back."""
    session.transaction(
        "advance the horizon",
        lambda connection: connection.execute(QUERIES["advance_horizons"], horizons.parameters()).rowcount,
        lock="take_exclusive_lock",
    )


def remove_expired_runs(
    connection: psycopg.Connection, pace: Pace | None = None, batch_rows: int = 5_000
) -> RemovedJobs:
    """Remove the runs that are over by the horizons as they are, and nothing else, on a session in autocommit.

    A rebuild does so in its own tables before they become the live ones. Raises RetentionStoppedError,
    RetentionBlockedError.
    """
    removed = RemovedJobs()
    horizons = standing(connection).horizons
    if horizons is not None:
        remove_jobs(Session(connection, pace or Pace(), batch_rows), horizons, removed)
    return removed


def _remove(session: Session, horizons: Horizons, tables: int, at_once: int, done: Done) -> None:
    # Attempts before jobs: whoever has an attempt in the tables has its job's row there as well.
    remove_days(session, horizons.horizon, done.attempts, at_once)
    remove_jobs(session, horizons, done.rows)
    remove_dead_letters(session, horizons, done.rows)
    session.transaction(
        "note what was done",
        lambda connection: (
            connection.execute(QUERIES["note_cleared"], {**horizons.parameters(), "tables": tables}).rowcount
        ),
    )


def _reaches(day: date | None, wanted: date | None) -> bool:
    """Return whether a day is the wanted one or later; None is earlier than all."""
    return wanted is None or (day is not None and day >= wanted)


def _ask(connection: psycopg.Connection, query: str) -> bool:
    row = connection.execute(QUERIES[query]).fetchone()
    return bool(row and row[0])
