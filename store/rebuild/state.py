"""The state of a rebuild in `jobtrail_control`: its phase, and how far it has read each partition of the topic.

A partition's position is written in the transaction of the rows read up to there, and only if the stored position is the
previous one. So a process that resumes after a kill loses nothing, and if two resume, one is refused.
"""

import json
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple

import psycopg

from schemas.errors import StoreError
from store.locks import (
    Lock,
    acquire_for_session,
    acquire_shared_for_session,
    release,
    try_acquire_for_session,
)
from store.queries import queries


class State(StrEnum):
    """The phase that a rebuild has reached."""

    LOADING = "loading"
    FOLLOWING = "following"
    """Its indexes are being created."""
    SWAPPED = "swapped"
    """Its tables are the live ones; only the comparison is left."""
    DONE = "done"
    ABANDONED = "abandoned"


_REBUILD = queries("rebuild")


class Rebuild(NamedTuple):
    """An open rebuild."""

    id: int
    topic: str
    state: State
    migration: int
    fingerprint_version: int
    history_from: datetime | None
    """Reads only what was published from then on. None: everything."""
    started_at: datetime
    deferred_indexes: list[str]


Place = tuple[int, int, int]
"""A message's place in its partition: ledger, entry, place in the publisher's batch. Before the first message: -1 in all three."""


class PartitionProgress(NamedTuple):
    """How far one partition has been read, and how much was in it."""

    place: Place
    events: int = 0
    expired: int = 0
    dead_letters: int = 0


class PartitionStep(NamedTuple):
    """How far one batch advances one partition."""

    partition: int
    before: Place
    after: Place
    events: int


def find_open(connection: psycopg.Connection) -> Rebuild | None:
    """Return the rebuild that was started, and neither finished nor abandoned; None without one."""
    row = connection.execute(_REBUILD["open_rebuild"]).fetchone()
    return None if row is None else Rebuild(*row)._replace(state=State(row[2]))


def record_start(
    connection: psycopg.Connection,
    *,
    topic: str,
    migration: int,
    fingerprint_version: int,
    history_from: datetime | None,
    deferred_indexes: list[str],
) -> int:
    """Open a rebuild, in the caller's transaction; return its id."""
    row = connection.execute(
        _REBUILD["start_rebuild"],
        {
            "topic": topic,
            "migration": migration,
            "fingerprint_version": fingerprint_version,
            "history_from": history_from,
            "deferred_indexes": deferred_indexes,
        },
    ).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def accept_history_from(connection: psycopg.Connection, rebuild: int, history_from: datetime) -> None:
    """Record that rows from before this time may be lost."""
    connection.execute(_REBUILD["accept_history_from"], {"rebuild": rebuild, "history_from": history_from})


def set_state(connection: psycopg.Connection, rebuild: int, state: State) -> None:
    """Set the state, in the caller's transaction."""
    connection.execute(_REBUILD["set_state"], {"rebuild": rebuild, "state": state})


def keep_report(connection: psycopg.Connection, rebuild: int, report: dict[str, Any]) -> None:
    """Store the comparison of the new tables with the old ones."""
    connection.execute(_REBUILD["keep_report"], {"rebuild": rebuild, "report": json.dumps(report)})


def read_report(connection: psycopg.Connection, rebuild: int) -> dict[str, Any] | None:
    """Return the comparison, or None if it has not been made."""
    row = connection.execute(_REBUILD["read_report"], {"rebuild": rebuild}).fetchone()
    return row[0] if row else None


def add_partitions(connection: psycopg.Connection, rebuild: int, partitions: list[int]) -> None:
    """Add partitions of the topic, to be read from their start. Known ones keep their position."""
    connection.execute(_REBUILD["add_partitions"], {"rebuild": rebuild, "partitions": partitions})


def read_positions(connection: psycopg.Connection, rebuild: int) -> dict[int, PartitionProgress]:
    """Return the progress of each partition of the topic."""
    rows = connection.execute(_REBUILD["read_positions"], {"rebuild": rebuild}).fetchall()
    return {row[0]: PartitionProgress((row[1], row[2], row[3]), *row[4:]) for row in rows}


def advance(
    connection: psycopg.Connection, rebuild: int, steps: list[PartitionStep], expired: int, dead_letters: int
) -> None:
    """Record how far a batch advances, in its transaction. A repetition changes nothing.

    Raises StoreError when another process has advanced from the same place.
    """
    for number, step in enumerate(steps):
        parameters = {
            "rebuild": rebuild,
            "partition": step.partition,
            **dict(zip(("ledger", "entry", "batch"), step.after, strict=True)),
            **dict(zip(("ledger_before", "entry_before", "batch_before"), step.before, strict=True)),
            "events": step.events,
            # A batch has messages of several partitions. These two counts are for the whole batch, so only its first step adds them.
            "expired": expired if number == 0 else 0,
            "dead_letters": dead_letters if number == 0 else 0,
        }
        if connection.execute(_REBUILD["advance_position"], parameters).rowcount != 1:
            raise StoreError(
                f"rebuild {rebuild} is no longer at {step.before} of partition {step.partition}: another process "
                "continues it, or it was abandoned. Nothing of this batch was kept."
            )


def acquire_rebuild_lock(connection: psycopg.Connection) -> None:
    """Make this the only rebuild of the database until the session ends. Raises StoreError when another one is running.

    Waits for processes that the last rebuild left behind; they end by themselves.
    """
    if not try_acquire_for_session(connection, Lock.REBUILD):
        raise StoreError("a rebuild of this database is running already: one at a time.")
    acquire_for_session(connection, Lock.LOADERS)
    release(connection, Lock.LOADERS)
    connection.commit()


def join_loaders(connection: psycopg.Connection) -> None:
    """Register as one of the loading processes until the session ends."""
    acquire_shared_for_session(connection, Lock.LOADERS)
    connection.commit()
