"""The state of a rebuild in `jobtrail_control`: that it is under way, and how far it has read each partition of the topic.

A partition's position is written in the transaction of the rows read up to there, and only from the position before. So a
process that goes on after a kill loses nothing, and of two that go on one is refused.
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
    """How far a rebuild is."""

    LOADING = "loading"
    FOLLOWING = "following"
    """Its indexes are made."""
    SWAPPED = "swapped"
    """Its tables are the live ones; what is left is the comparison."""
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
    """Only what was published from then on is read. None: everything."""
    started_at: datetime
    deferred_indexes: list[str]


Place = tuple[int, int, int]
"""A message's place in its partition: ledger, entry, place in the publisher's batch. Before the first one: three times -1."""


class PartitionProgress(NamedTuple):
    """How far one partition is read, and how much was in it."""

    place: Place
    events: int = 0
    expired: int = 0
    dead_letters: int = 0


class PartitionStep(NamedTuple):
    """How far one batch goes in one partition."""

    partition: int
    before: Place
    after: Place
    events: int


def find_open(connection: psycopg.Connection) -> Rebuild | None:
    """Return the rebuild that was started and neither finished nor abandoned."""
    row = connection.execute(_REBUILD["open_rebuild"]).fetchone()
    return None if row is None else Rebuild(*row)._replace(state=State(row[2]))


def note_start(
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
    """Note that rows from before this time may be lost."""
    connection.execute(_REBUILD["accept_history_from"], {"rebuild": rebuild, "history_from": history_from})


def set_state(connection: psycopg.Connection, rebuild: int, state: State) -> None:
    """Set the state, in the caller's transaction."""
    connection.execute(_REBUILD["set_state"], {"rebuild": rebuild, "state": state})


def keep_report(connection: psycopg.Connection, rebuild: int, report: dict[str, Any]) -> None:
    """Keep the comparison of the new tables with the old ones."""
    connection.execute(_REBUILD["keep_report"], {"rebuild": rebuild, "report": json.dumps(report)})


def read_report(connection: psycopg.Connection, rebuild: int) -> dict[str, Any] | None:
    """Return the comparison, or None if it has not been made."""
    row = connection.execute(_REBUILD["read_report"], {"rebuild": rebuild}).fetchone()
    return row[0] if row else None


def add_partitions(connection: psycopg.Connection, rebuild: int, partitions: list[int]) -> None:
    """Add partitions of the topic, to be read from their start; known ones keep their position."""
    connection.execute(_REBUILD["add_partitions"], {"rebuild": rebuild, "partitions": partitions})


def read_positions(connection: psycopg.Connection, rebuild: int) -> dict[int, PartitionProgress]:
    """Return the progress of each partition of the topic."""
    rows = connection.execute(_REBUILD["read_positions"], {"rebuild": rebuild}).fetchall()
    return {row[0]: PartitionProgress((row[1], row[2], row[3]), *row[4:]) for row in rows}


def advance(
    connection: psycopg.Connection, rebuild: int, steps: list[PartitionStep], expired: int, dead_letters: int
) -> None:
    """Note how far a batch came, in its transaction; a second time changes nothing.

    Raises StoreError when somebody else has gone on from the same place.
    """
    for number, step in enumerate(steps):
        parameters = {
            "rebuild": rebuild,
            "partition": step.partition,
            **dict(zip(("ledger", "entry", "batch"), step.after, strict=True)),
            **dict(zip(("ledger_before", "entry_before", "batch_before"), step.before, strict=True)),
            "events": step.events,
            # A batch is of several partitions; these two are counted with the first.
            "expired": expired if number == 0 else 0,
            "dead_letters": dead_letters if number == 0 else 0,
        }
        if connection.execute(_REBUILD["advance_position"], parameters).rowcount != 1:
            raise StoreError(
                f"rebuild {rebuild} is no longer at {step.before} of partition {step.partition}: another process goes "
                "on with it, or it was abandoned. Nothing of this batch was kept."
            )


def acquire_rebuild_lock(connection: psycopg.Connection) -> None:
    """Make this the only rebuild of the database, for as long as the session lives. Raises StoreError when one is running.

    Waits for processes that the last one left behind; they end by themselves.
    """
    if not try_acquire_for_session(connection, Lock.REBUILD):
        raise StoreError("a rebuild of this database is running already: one at a time.")
    acquire_for_session(connection, Lock.LOADERS)
    release(connection, Lock.LOADERS)
    connection.commit()


def join_loaders(connection: psycopg.Connection) -> None:
    """Register as one of the loading processes, for as long as the session lives."""
    acquire_shared_for_session(connection, Lock.LOADERS)
    connection.commit()
