"""How a slice is read: one snapshot, bounded memory of the server's, a cursor of the server's for what differs.

A writer adds rows and sums in one transaction, so every snapshot is consistent; and a slice's is short, so that VACUUM is
not held back. Adding or dropping a partition is seen at once, whatever the snapshot: so locks that keep the partitions
as they are come before it, and what still differs is read a second time before it is said.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, LiteralString, NamedTuple

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from schemas.errors import StoreError

# Sent as one. A sort or a hash table that outgrows work_mem goes to files of the server's; one process takes nobody's
# second core. A cursor's query is otherwise planned for its first rows; here all are read, and mostly there is none. The
# locks come before the first query, which takes the snapshot.
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
    """A row of every comparing query."""

    table_name: str
    key: dict[str, Any]
    stored: dict[str, Any] | None
    expected: dict[str, Any] | None


@contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """One view of the database for what is read inside. Raises StoreError within a transaction of the caller's."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        raise StoreError(
            "expected a connection without an open transaction, got one within: verify takes a snapshot for each slice. "
            "Commit or roll back first, or use a connection of its own."
        )
    with connection.transaction():
        connection.execute(_SESSION)
        yield


def differing(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[Differing]:
    """The rows that a comparing query finds, read a second time where the first reading found any."""
    with snapshot(connection):
        first = next(_rows(connection, query, parameters), None)
    if first is not None:
        with snapshot(connection):
            yield from _rows(connection, query, parameters)


def rows_of(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[tuple[Any, ...]]:
    """Rows as tuples, a few at a time, within the caller's `snapshot`."""
    with connection.cursor("verify") as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(query, parameters)


def _rows(
    connection: psycopg.Connection, query: LiteralString, parameters: Mapping[str, Any]
) -> Iterator[Differing]:
    with connection.cursor("verify", row_factory=class_row(Differing)) as cursor:
        cursor.itersize = _ROWS_A_FETCH
        yield from cursor.execute(query, parameters)
