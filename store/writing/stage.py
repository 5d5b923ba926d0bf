"""Copies rows into the stage tables: tuples to the text format of COPY, one write per table.

psycopg's own ``write_row`` formats field by field. With thousands of rows of 29 fields, one string per row is several times
cheaper. The whole batch is searched for characters that need an escape; its rows are searched only if there are any.
"""

from collections.abc import Sequence
from typing import LiteralString, NamedTuple

import psycopg

from derive.rows import ATTEMPT_COLUMNS, EDGE_COLUMNS, GROUP_COLUMNS, JOB_COLUMNS, Batch, DeadLetter
from store.queries import queries
from store.steps import Reached, Step


def create_stages(connection: psycopg.Connection) -> None:
    """Create this session's temporary stage tables, which every commit empties."""
    for query in queries("stage").values():
        connection.execute(query)


class Staged(NamedTuple):
    """The rows of one batch in the text format of COPY. They are formatted before, so that another thread can do it."""

    texts: list[tuple[LiteralString, bytes]]
    """Statement and rows of each stage table that gets rows, in their order."""
    dead_letters: Sequence[DeadLetter]


def staged(batch: Batch) -> Staged:
    """Return the rows of a batch, ready to be copied."""
    stages: tuple[tuple[LiteralString, Sequence[Sequence[object]], int], ...] = (
        ("COPY stage_jobs FROM STDIN", batch.jobs, len(JOB_COLUMNS)),
        ("COPY stage_edges FROM STDIN", batch.edges, len(EDGE_COLUMNS)),
        ("COPY stage_attempts FROM STDIN", batch.attempts, len(ATTEMPT_COLUMNS)),
        ("COPY stage_groups FROM STDIN", batch.groups, len(GROUP_COLUMNS)),
    )
    texts = [(statement, copy_text(rows, columns).encode()) for statement, rows, columns in stages if rows]
    return Staged(texts, batch.dead_letters)


def copy_rows(connection: psycopg.Connection, rows: Staged, reached: Reached | None = None) -> None:
    """COPY every row of a batch into this session's stage tables. ``reached`` is called when half of a stream is sent."""
    for statement, text in rows.texts:
        with connection.cursor().copy(statement) as copy:
            sent = 0
            if reached is not None:
                sent = len(text) // 2
                copy.write(text[:sent])
                reached(Step.DURING_COPY)
            copy.write(text[sent:] if sent else text)
    if rows.dead_letters:
        with connection.cursor().copy("COPY stage_dead_letters FROM STDIN") as copy:
            for letter in rows.dead_letters:
                copy.write_row(letter)


def copy_text(rows: Sequence[Sequence[object]], columns: int) -> str:
    """Return rows in the text format of COPY. ``columns`` is the number of fields of every row."""
    line = "\t".join(["%s"] * columns)
    lines = [line % row for row in rows]
    text = "\n".join([*lines, ""])
    # Most batches need no escape, which one search shows; in the others, most rows need none.
    if _is_plain(text, len(lines), columns):
        return text
    plain = [
        one if _is_plain(one, 0, columns) else line % tuple(map(_escaped, row))
        for one, row in zip(lines, rows, strict=True)
    ]
    return "\n".join([*plain, ""])


def _is_plain(text: str, line_ends: int, columns: int) -> bool:
    """Return whether only the tabs between fields and this number of line ends mean anything to COPY."""
    tabs = (columns - 1) * (line_ends or 1)
    return (
        "\\" not in text and "\r" not in text and text.count("\n") == line_ends and text.count("\t") == tabs
    )


def _escaped(value: object) -> object:
    """Escape a value for COPY. On a long stack trace, four passes in C are many times faster than one of str.translate."""
    if not isinstance(value, str):
        return value
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace("\t", "\\t").replace("\r", "\\r")
