"""Runs retention: advances the horizons, deletes what is expired, creates the partitions of the days that are kept.

It may be interrupted anywhere and started again: the tables show what is left to do. One run works at a time.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import psycopg
from psycopg.errors import LockNotAvailable

from schemas.errors import StoreError
from store.locks import Lock, release, try_acquire_for_session
from store.partitions import DAYS_AHEAD, ensure_days
from store.retention.attempts import AT_ONCE, RemovedAttempts, remove_days
from store.retention.jobs import RemovedJobs, remove_dead_letters, remove_jobs
from store.retention.session import QUERIES, Horizons, Pace, Session, lock_writers_out


class RetentionState(NamedTuple):
    """How far retention has come, in days of UTC."""

    horizon: date | None
    """None: nothing has been deleted yet."""
    open_horizon: date | None
    """The horizon of open jobs. None: no open job has been deleted yet."""
    cleared_before: date | None
    """Everything expired by this horizon has been deleted from these tables. None: nothing has."""
    cleared_open_before: date | None
    """The same for the horizon of open jobs."""
    today: date
    """By the clock of the database or of this host, whichever is earlier, so that a clock that is ahead cannot delete history."""
    tables: int
    """Identifies the tables: a rebuild's swap replaces them."""

    @property
    def horizons(self) -> Horizons | None:
        """Both horizons. None: nothing has been deleted yet."""
        return Horizons(self.horizon, self.open_horizon) if self.horizon else None

    def wanted(self, keep_days: int, keep_open_days: int) -> Horizons | None:
        """Return the horizons that keep these numbers of whole days before today; None if nothing is to be deleted.

        Neither moves back. Zero days keep everything. Open jobs are kept at least as long as all others.
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
        """Return whether the stored horizons have reached these."""
        return _reaches(self.horizon, horizons.horizon) and _reaches(self.open_horizon, horizons.open_horizon)

    def is_cleared(self, horizons: Horizons) -> bool:
        """Return whether everything that is expired by these horizons has been deleted from these tables."""
        return _reaches(self.cleared_before, horizons.horizon) and _reaches(
            self.cleared_open_before, horizons.open_horizon
        )


@dataclass
class Done:
    """What a run did; kept up to date while it works."""

    horizon_before: date | None = None
    horizon: date | None = None
    open_horizon_before: date | None = None
    open_horizon: date | None = None
    busy: bool = False
    """Another run was at work, so this one did nothing."""
    attempts: RemovedAttempts = field(default_factory=RemovedAttempts)
    rows: RemovedJobs = field(default_factory=RemovedJobs)


def read_state(connection: psycopg.Connection) -> RetentionState:
    """Return how far retention has come. Raises StoreError when the row with that state is missing."""
    row = connection.execute(QUERIES["read_state"]).fetchone()
    if row is None:
        raise StoreError(
            "jobtrail_control.horizon or jobtrail.derivation has no row: restore it, or run `jobtrail migrate`"
        )
    horizon, open_horizon, cleared_before, cleared_open_before, today, tables = row
    today = min(today, datetime.now(UTC).date())
    return RetentionState(horizon, open_horizon, cleared_before, cleared_open_before, today, tables)


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
    """Delete data older than ``keep_days`` whole days (0: nothing). The session is in autocommit, and only this uses it.

    A run is kept while it has an open job with an event in the last ``keep_open_days`` (0: for ever). ``done`` is kept up to
    date. Raises RetentionStoppedError, RetentionBlockedError, StoreError.
    """
    now = read_state(connection)
    done = done or Done()
    done.horizon_before = done.horizon = now.horizon
    done.open_horizon_before = done.open_horizon = now.open_horizon
    wanted = now.wanted(keep_days, keep_open_days)
    if wanted is None or (now.is_at(wanted) and now.is_cleared(wanted)):
        return done
    delete_expired(connection, wanted, pace=pace, batch_rows=batch_rows, reached=reached, done=done)
    with suppress(
        LockNotAvailable
    ):  # a later run creates the partitions; until then their rows go into the default one
        ensure_days(connection, wanted.horizon, now.today + timedelta(days=DAYS_AHEAD))
    return done


def delete_expired(
    connection: psycopg.Connection,
    horizons: Horizons,
    *,
    pace: Pace | None = None,
    batch_rows: int = 5_000,
    at_once: int = AT_ONCE,
    reached: Callable[[str], None] = lambda _step: None,
    done: Done | None = None,
) -> Done:
    """Advance the horizons to at least these days, and delete what is expired. Otherwise the same as `retain`."""
    done = done or Done()
    if not try_acquire_for_session(connection, Lock.RETENTION):
        done.busy = True
        return done
    try:
        session = Session(connection, pace or Pace(), batch_rows, reached)
        if not read_state(connection).is_at(horizons):
            advance(session, horizons)
        horizons = read_state(connection).horizons or horizons  # they may have been further ahead already
        done.horizon, done.open_horizon = horizons
        # Usually once; once more if a rebuild has replaced the tables meanwhile.
        while not (now := read_state(connection)).is_cleared(horizons):
            _remove(session, horizons, now.tables, at_once, done)
    finally:
        if not connection.closed:
            release(connection, Lock.RETENTION)
    return done


def advance(session: Session, horizons: Horizons) -> None:
    """Advance the horizons while no writer is between reading them and its commit. They never move back."""
    session.transaction(
        "advance the horizon",
        lambda connection: connection.execute(QUERIES["advance_horizons"], horizons.parameters()).rowcount,
        lock_writers_out,
    )


def remove_expired_runs(
    connection: psycopg.Connection, pace: Pace | None = None, batch_rows: int = 5_000
) -> RemovedJobs:
    """Delete only the runs expired by the stored horizons. The session is in autocommit.

    A rebuild does this in its own tables before the swap. Raises RetentionStoppedError, RetentionBlockedError.
    """
    removed = RemovedJobs()
    horizons = read_state(connection).horizons
    if horizons is not None:
        remove_jobs(Session(connection, pace or Pace(), batch_rows), horizons, removed)
    return removed


def _remove(session: Session, horizons: Horizons, tables: int, at_once: int, done: Done) -> None:
    # Attempts before jobs, so that every attempt in the tables has the row of its job.
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
    """Return whether ``day`` is not before ``wanted``. None is earlier than every day."""
    return wanted is None or (day is not None and day >= wanted)
