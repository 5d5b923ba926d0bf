"""Reads a slice: in one snapshot, with bounded memory in the server, and a server-side cursor for the differences.

A writer adds rows and aggregates in one transaction, so every snapshot is consistent. Each is short, so VACUUM is not held
back. A snapshot does not protect against partitions that are added or dropped. So partitions are locked first, and
differences are read a second time before they are reported.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from schemas.errors import StoreError

# Sent in one round trip. A sort or a hash table that outgrows work_mem goes to the server's temporary files. No parallel workers:
# they would take CPU from others. By default a cursor's query is planned for its first rows, but here all rows are read, and
# usually there are none. The locks come before the first query, because that takes the snapshot.
_SESSION: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL work_mem = '32MB';
SET LOCAL hash_mem_multiplier = 1;
SET LOCAL max_parallel_workers_per_gather = 0;
SET LOCAL jit = off;
SET LOCAL cursor_tuple_fraction = 1;
LOCK TABLE ONLY attempts, ONLY attempts_default IN ACCESS SHARE MODE;
"""
_ROWS_A_FETCH = 1_000


class Differing(NamedTuple):
    """A row of a comparing query."""

    table_name: str
    key: dict[str, Any]
    stored: dict[str, Any] | None
    expected: dict[str, Any] | None


@contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """Give all queries inside one view of the database. Raises StoreError if a transaction is open already."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise StoreError(
            "expected a connection without an open transaction, got one with: verify takes a snapshot for each slice. "
            "Commit or roll back first, or use a separate connection."
        )
    with connection.transaction():
        connection.execute(_SESSION)
        yield


def differing(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[Differing]:
    """Yield the rows that a comparing query finds. If it finds any, read them a second time first."""
    with snapshot(connection):
        first = next(_rows(connection, query, parameters), None)
    if first is not None:
        with snapshot(connection):
            yield from _rows(connection, query, parameters)


def rows_of(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Yield rows as tuples, within the caller's `snapshot`, reading a few at a time."""
    with connection.cursor("verify") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(query, parameters)


def _rows(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[Differing]:
    with connection.cursor("verify", row_factory=class_row(Differing)) as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(query, parameters)
