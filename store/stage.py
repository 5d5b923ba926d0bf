"""Rows into the stages: tuples to the text format of COPY, one write a table.

psycopg's own ``write_row`` formats field by field; a batch of thousands of rows of 29 fields is several times cheaper as
one string a row, looked at for characters that need an escape only when there is one.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import LiteralString

import psycopg

from store.batch import ATTEMPT_COLUMNS, EDGE_COLUMNS, GROUP_COLUMNS, JOB_COLUMNS, Batch
from store.queries import queries


def create_stages(connection: psycopg.Connection) -> None:
    """Make this session's temporary stage tables, emptied at every commit."""
    for query in queries("stage").values():
        connection.execute(query)


def copy_batch(
    connection: psycopg.Connection, batch: Batch, watch: Callable[[str], None] | None = None
) -> None:
    """COPY every row of the batch into this session's stages. ``watch`` is told when half of a stream is sent."""
    _copy(connection, "COPY stage_jobs FROM STDIN", batch.jobs, len(JOB_COLUMNS), watch)
    _copy(connection, "COPY stage_edges FROM STDIN", batch.edges, len(EDGE_COLUMNS), watch)
    _copy(connection, "COPY stage_attempts FROM STDIN", batch.attempts, len(ATTEMPT_COLUMNS), watch)
    _copy(connection, "COPY stage_groups FROM STDIN", batch.groups, len(GROUP_COLUMNS), watch)
    if batch.dead_letters:
        with connection.cursor().copy("COPY stage_dead_letters FROM STDIN") as copy:
            for letter in batch.dead_letters:
                copy.write_row(letter)


def copy_text(rows: Iterable[Sequence[object]], columns: int) -> str:
    """Rows as the text format of COPY. ``columns`` is the number of fields of every row."""
    line = "\t".join(["%s"] * columns)
    tabs = columns - 1
    lines = []
    for row in rows:
        text = line % row
        if "\\" in text or "\n" in text or "\r" in text or text.count("\t") != tabs:
            text = line % tuple(_escaped(value) if isinstance(value, str) else value for value in row)
        lines.append(text)
    lines.append("")
    return "\n".join(lines)


def _escaped(value: str) -> str:
    """Four passes in C are many times faster than one of str.translate on a long stack trace."""
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")


def _copy(
    connection: psycopg.Connection,
    statement: LiteralString,
    rows: Sequence[Sequence[object]],
    columns: int,
    watch: Callable[[str], None] | None,
) -> None:
    if rows:
        text = copy_text(rows, columns)
        with connection.cursor().copy(statement) as copy:
            if watch is not None:
                middle = len(text) // 2
                copy.write(text[:middle])
                watch("during copy")
                text = text[middle:]
            copy.write(text)
