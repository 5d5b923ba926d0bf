"""Writes a batch in one transaction: lock, horizon, stage tables, merges in their fixed order, commit.

The parts (`begin`, `merge`, commit) are separate, so that a consumer can fill the stage tables of one connection while
another thread merges those of a second. The caller retries: a batch applied twice changes nothing.

Events that occurred before the horizon are rare, and are written first, in their own transaction: their jobs are looked up
and locked before anything is merged into them. In the batch's transaction that would be a second round of locks on `jobs`,
and two writers could wait for each other in a circle.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import cast

import psycopg

from derive.fold import with_late
from derive.rows import JOB_COLUMNS, Batch, JobRow, LateEvent, Written
from schemas.errors import StoreError
from store.locks import Lock, acquire_shared
from store.queries import queries
from store.steps import Reached, Step
from store.writing.stage import Staged, copy_rows, create_stages, staged

_MERGE = queries("merge")
_EARLIEST_AT = JOB_COLUMNS.index("earliest_at")


class HorizonMovedError(StoreError):
    """The batch was folded for an older horizon: fold it again for ``horizon_us``."""

    def __init__(self, horizon_us: int | None) -> None:
        super().__init__(f"the horizon is now {horizon_us}; fold the batch again")
        self.horizon_us = horizon_us


class FingerprintMovedError(StoreError):
    """The failure groups in the tables are no longer of this release: a rebuild by another release has swapped the tables."""

    def __init__(self, stored: int, ours: int) -> None:
        super().__init__(
            f"the failure groups in the tables are now made by version {stored} of the fingerprint, this code has version "
            f"{ours}: the tables were rebuilt by another release. Run that release; nothing of this batch was kept."
        )


def prepare_session(connection: psycopg.Connection) -> None:
    """Create the stage tables, and have every statement prepared at its first use. Call it before a connection's first batch."""
    connection.prepare_threshold = 0
    with connection.transaction():
        create_stages(connection)


def read_horizon(connection: psycopg.Connection) -> int | None:
    """Return the horizon in microseconds since 1970; None while nothing has been deleted."""
    return _read_derivation(connection)[0]


def _read_derivation(connection: psycopg.Connection) -> tuple[int | None, int]:
    """Return the horizon and the version of the fingerprint. Both may have changed since the last batch."""
    row = connection.execute(_MERGE["read_horizon"]).fetchone()
    if row is None:
        raise StoreError("jobtrail_control.horizon has no row: run `jobtrail migrate`, or restore the table.")
    return row[0], row[1]


def check_fingerprint_version(connection: psycopg.Connection, version: int) -> None:
    """Raise StoreError unless this version of the fingerprint made the tables' groups: groups of two versions would mix."""
    row = connection.execute(_MERGE["read_fingerprint_version"]).fetchone()
    stored = row[0] if row else None
    if stored != version:
        raise StoreError(
            f"the failure groups in the tables were made by version {stored} of the fingerprint, this code has version "
            f"{version}. Run the release that made them, or derive the tables again: `jobtrail rebuild`."
        )


def begin(
    connection: psycopg.Connection,
    batch: Batch,
    rows: Staged,
    reached: Reached | None = None,
    locked: Callable[[], None] = lambda: None,
) -> None:
    """Write the batch's late events, then open its transaction and fill the stage tables with its rows.

    ``locked`` is called once the session has the writers' lock.

    Raises HorizonMovedError when the batch was folded for another horizon, FingerprintMovedError when the tables' groups
    have another version by now.
    """
    if batch.late:
        _write_late(connection, batch, reached)
    _lock(connection, batch, locked)
    copy_rows(connection, rows, reached)


def _write_late(connection: psycopg.Connection, batch: Batch, reached: Reached | None) -> None:
    """Merge the events from before the horizon into those jobs that have an earlier event, and commit."""
    _lock(connection, batch)
    keys = sorted({(event.job[1], event.job[0]) for event in batch.late})
    asked = {"job_ids": [job_id for job_id, _ in keys], "namespaces": [namespace for _, namespace in keys]}
    known = connection.execute(_MERGE["lock_known_jobs"], asked).fetchall()
    earliest: dict[JobRow, int | None] = {
        (namespace, job_id): earliest_us for job_id, namespace, earliest_us in known
    }
    rows = with_late(Batch(), [event for event in batch.late if _is_known(event, earliest)])
    copy_rows(connection, staged(rows), reached)
    merge(connection, rows, reached)
    connection.commit()


def _is_known(event: LateEvent, earliest: dict[JobRow, int | None]) -> bool:
    """Return whether the event's job has an event that is not later. ``earliest``: by job; None: earlier than all."""
    job = event.job[:2]
    if job not in earliest:
        return False
    earliest_us = earliest[job]
    return earliest_us is None or cast(int, event.job[_EARLIEST_AT]) >= earliest_us


def _lock(connection: psycopg.Connection, batch: Batch, locked: Callable[[], None] = lambda: None) -> None:
    """Acquire the writers' lock, and check that the batch was folded for these tables. Raises the same as `begin`."""
    acquire_shared(connection, Lock.DERIVED)
    locked()
    horizon_us, fingerprint_version = _read_derivation(connection)
    if horizon_us != batch.horizon_us:
        connection.rollback()
        raise HorizonMovedError(horizon_us)
    if batch.fingerprint_version not in (None, fingerprint_version):
        connection.rollback()
        raise FingerprintMovedError(fingerprint_version, batch.fingerprint_version)


def merge(connection: psycopg.Connection, batch: Batch, reached: Reached | None = None) -> Written:
    """Merge what `begin` staged. The transaction stays open. ``reached`` is called with each statement's name once it is done."""
    changed: dict[str, int] = {}
    repeated_jobs = 0
    for name in _statements(batch):
        cursor = connection.execute(_MERGE[name])
        changed[name] = cursor.rowcount
        if name == "merge_jobs":
            ((repeated_jobs,),) = cursor
        if reached is not None:
            reached(name)
    return Written(
        new_attempts=changed.get("merge_attempts", 0),
        new_edges=changed.get("merge_edges", 0),
        new_dead_letters=changed.get("merge_dead_letters", 0),
        repeated_jobs=repeated_jobs,
    )


def write_batch(connection: psycopg.Connection, batch: Batch, reached: Reached | None = None) -> Written:
    """Run and commit the whole transaction. An error rolls it back; if the connection broke, its result is unknown."""
    with committed(connection, reached):
        begin(connection, batch, staged(batch), reached)
        return merge(connection, batch, reached)


@contextmanager
def committed(connection: psycopg.Connection, reached: Reached | None = None) -> Iterator[None]:
    """Call ``reached`` and commit what the block wrote. Roll it back on any error."""
    try:
        yield
        if reached is not None:
            reached(Step.BEFORE_COMMIT)
        connection.commit()
    except BaseException:
        if not connection.closed:
            connection.rollback()
        raise


def _statements(batch: Batch) -> list[str]:
    """Return the names of the merges this batch needs, in the one order that all writers keep."""
    names: list[str] = []
    if batch.jobs:
        names.append("merge_jobs")
    if batch.edges:
        names.append("merge_edges")
    if batch.dead_letters:
        names.append("merge_dead_letters")
    if batch.attempts:
        names.append("merge_attempts")
    if batch.groups:
        names += ["merge_group_jobs", "add_to_failure_groups", "add_to_failure_groups_hourly"]
    if batch.attempts:
        names.append("add_to_outcomes_hourly")
    return names
