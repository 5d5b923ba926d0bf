"""Reads for answers: several queries in one snapshot, each row as a typed value."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString, TypeVar

import psycopg
from psycopg.pq import TransactionStatus
from psycopg.rows import class_row

from schemas.redaction import Redactor

Row = TypeVar("Row")

# Sent in one round trip. With this work_mem a run of 1,000,000 jobs is joined and grouped in memory, not in files. JIT would take
# longer than it saves. The planner has no statistics of fresh tables: it estimates one row for a run, and would compare each
# row of a join with each. Without nested loops it hashes; lookups of single rows are written LATERAL and still loop.
_SESSION: Final = """
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL work_mem = '64MB';
SET LOCAL jit = off;
SET LOCAL enable_nestloop = off;
"""

_TRACE: Final = "stacktrace"
_TEXTS_OF_PUBLISHERS: Final = frozenset(
    {"title", "message", "error_message", _TRACE, "args", "detail", "message_key"}
)
_redact: Final = Redactor().text
_redact_trace: Final = Redactor().trace


@contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """Give all queries inside one read-only snapshot; within a transaction of the caller, its snapshot."""
    if connection.info.transaction_status != TransactionStatus.IDLE:
        yield
        return
    with connection.transaction():
        connection.execute(_SESSION)
        yield


def read(
    connection: psycopg.Connection, row_type: type[Row], query: LiteralString, **parameters: Any
) -> list[Row]:
    """Return all rows of a named query as values of a class whose fields are the query's columns.

    Secrets in texts from publishers are redacted, because not every publisher does it. Stored rows are not changed.
    """
    with connection.cursor(row_factory=class_row(row_type)) as cursor:
        rows = cursor.execute(query, parameters).fetchall()
    columns = [name for name in getattr(row_type, "_fields", ()) if name in _TEXTS_OF_PUBLISHERS]
    return [_redacted(row, columns) for row in rows] if columns else rows


def _redacted(row: Any, columns: list[str]) -> Any:
    texts = {name: text for name in columns if (text := getattr(row, name))}
    shown = {name: _redact_trace(text) if name == _TRACE else _redact(text) for name, text in texts.items()}
    return row._replace(**shown) if shown != texts else row
