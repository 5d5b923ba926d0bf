"""The tables of a rebuild: created in their own schema, indexed when they are full, swapped with the live ones, dropped.

The same migrations create them, so they equal the live ones, even in names and storage parameters.
"""

from typing import Final

import psycopg
from psycopg import sql

from store.connection import OLD_SCHEMA, REBUILD_SCHEMA, SCHEMA
from store.locks import Lock, acquire
from store.migrate import create_derived
from store.queries import queries

DERIVED: Final = (
    "derivation",
    "jobs",
    "attempts",
    "lineage_edges",
    "dead_letters",
    "failure_groups",
    "failure_group_jobs",
    "failure_groups_hourly",
    "outcomes_hourly",
)
"""The derived tables; `attempts` has partitions beside them."""

_REBUILD = queries("rebuild")


def create(connection: psycopg.Connection, fingerprint_version: int) -> list[str]:
    """Create the empty tables in the caller's transaction. Return the definitions of the indexes that are left for later.

    An index that no constraint needs is created later, because it costs more if it grows row by row: while no index of `jobs`
    has the state, a new state of a job needs no new index entry.
    """
    create_derived(connection, REBUILD_SCHEMA)
    connection.execute("UPDATE derivation SET fingerprint_version = %s", [fingerprint_version])
    found = connection.execute(_REBUILD["secondary_indexes"], {"schema": REBUILD_SCHEMA}).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(REBUILD_SCHEMA, name)))
    return [definition for _, definition in found]


def make_indexes(connection: psycopg.Connection, definitions: list[str]) -> None:
    """Create the indexes that were left for later, in the caller's transaction."""
    for definition in definitions:
        # Trusted: Postgres's definition of an index from our migrations.
        connection.execute(definition)


def vacuum_and_analyze(connection: psycopg.Connection) -> None:
    """Do what autovacuum would do later: statistics for the planner, and pages that an index-only scan can use.

    The session is in autocommit.
    """
    for table in DERIVED:
        connection.execute(sql.SQL("VACUUM (ANALYZE) {}").format(sql.Identifier(REBUILD_SCHEMA, table)))


def lock_all_out(connection: psycopg.Connection) -> None:
    """Wait until no migration, partition change or writer is at work, and keep new ones out until this transaction ends.

    Raises psycopg.errors.LockNotAvailable after the session's lock_timeout. Writers come last, because they must wait for the
    shortest time.
    """
    for lock in (Lock.MIGRATION, Lock.PARTITIONS, Lock.DERIVED):
        acquire(connection, lock)


def swap(connection: psycopg.Connection) -> None:
    """Make the rebuilt tables the live ones, in the caller's transaction, which has all locks.

    The schemas are renamed: SET SCHEMA would lock every table, and readers would have to wait.
    """
    _rename(connection, SCHEMA, OLD_SCHEMA)
    _rename(connection, REBUILD_SCHEMA, SCHEMA)


def drop(connection: psycopg.Connection, schema: str) -> None:
    """Drop the tables of an abandoned rebuild, or the old ones, in the caller's transaction.

    Raises psycopg.errors.LockNotAvailable when a session reads them for longer than the session's lock_timeout.
    """
    if schema not in (REBUILD_SCHEMA, OLD_SCHEMA):
        raise ValueError(f"expected {REBUILD_SCHEMA} or {OLD_SCHEMA}, got {schema}")
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


def existing_schemas(connection: psycopg.Connection) -> set[str]:
    """Return which of the two other schemas exist."""
    return {name for (name,) in connection.execute(_REBUILD["existing_schemas"]).fetchall()}


def _rename(connection: psycopg.Connection, old: str, new: str) -> None:
    connection.execute(
        sql.SQL("ALTER SCHEMA {} RENAME TO {}").format(sql.Identifier(old), sql.Identifier(new))
    )
