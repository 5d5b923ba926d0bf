"""The advisory locks of the database, and the one order in which they are acquired.

A session that needs several takes them in the order of `Lock`, and before any lock on a table or a row. Then sessions never wait
for each other in a circle. The order goes from work that may wait long to work that must not: `DERIVED` is last, because all
writers wait while another session waits for it exclusively.
"""

from enum import StrEnum
from typing import Final

import psycopg

from store.queries import queries

_LOCKS: Final = queries("locks")


class Lock(StrEnum):
    """What a lock protects, in the order in which locks are acquired."""

    REBUILD = "jobtrail.rebuild"
    """Held by the session of the one rebuild of a database."""
    LOADERS = "jobtrail.rebuild.loaders"
    """Shared by a rebuild's loading processes. The next rebuild acquires it exclusively, so it waits until none is left."""
    RETENTION = "jobtrail.retention"
    """Held by the session of the one run of retention."""
    MIGRATION = "jobtrail.migration"
    """Held during a migration, and during a rebuild's swap."""
    PARTITIONS = "jobtrail.partitions"
    """Held while partitions of `attempts` are created or dropped, and during a rebuild's swap."""
    DERIVED = "jobtrail.derived"
    """Shared by every transaction that writes derived tables, from reading the horizon to its commit. Exclusive while the horizon
    advances, and during a rebuild's swap."""


def acquire(connection: psycopg.Connection, lock: Lock) -> None:
    """Acquire a lock until the transaction ends.

    Raises psycopg.errors.LockNotAvailable after the session's lock_timeout. So do the others that wait.
    """
    connection.execute(_LOCKS["acquire"], {"lock": lock.value})


def acquire_shared(connection: psycopg.Connection, lock: Lock) -> None:
    """Acquire a shared lock until the transaction ends. New sharers queue behind a session that waits for it exclusively."""
    connection.execute(_LOCKS["acquire_shared"], {"lock": lock.value})


def acquire_for_session(connection: psycopg.Connection, lock: Lock) -> None:
    """Acquire a lock until it is released or the session ends."""
    connection.execute(_LOCKS["acquire_for_session"], {"lock": lock.value})


def acquire_shared_for_session(connection: psycopg.Connection, lock: Lock) -> None:
    """Acquire a shared lock until the session ends."""
    connection.execute(_LOCKS["acquire_shared_for_session"], {"lock": lock.value})


def try_acquire_for_session(connection: psycopg.Connection, lock: Lock) -> bool:
    """Acquire a lock like `acquire_for_session`, but without waiting. Return whether the session has it."""
    row = connection.execute(_LOCKS["try_acquire_for_session"], {"lock": lock.value}).fetchone()
    return bool(row and row[0])


def release(connection: psycopg.Connection, lock: Lock) -> None:
    """Release an exclusive lock of the session."""
    connection.execute(_LOCKS["release"], {"lock": lock.value})
