"""How an answer reads: several queries of one snapshot, each row a typed value."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

Row = TypeVar("Row")

# Sent as one. A run of 1,000,000 jobs is joined and grouped in memory instead of in files; compiling a query of this kind
# takes longer than it saves.
_SESSION: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL work_mem = '64MB';
SET LOCAL jit = off;
"""


@contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """One read-only view of the database for all queries inside; in a transaction of the caller's, that one's view."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    with connection.transaction():
        connection.execute(_SESSION)
        yield


def read(
    connection: psycopg.Connection, row_type: type[Row], query: LiteralString, **parameters: Any
) -> list[Row]:
    """All rows of a named query as values of a class whose fields are the query's columns."""
    with connection.cursor(row_factory=class_row(row_type)) as cursor:
        return cursor.execute(query, parameters).fetchall()
