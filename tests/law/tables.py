"""Reads the derived tables from Postgres in the oracle's form, and shows how two states differ."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg import sql

from tests.law.oracle import COLUMNS, Row, Tables

# If a missing and an unexpected row agree in these columns, they are shown as one row with other values.
KEYS = {
    "jobs": 2,
    "attempts": 4,
    "lineage_edges": 4,
    "dead_letters": 3,
    "failure_groups": 1,
    "failure_group_jobs": 2,
    "failure_groups_hourly": 2,
    "outcomes_hourly": 5,
}
TIMES = {
    *("occurred_at", "scheduled_at", "enqueued_at", "started_at", "args_occurred_at", "finished_at"),
    *(
        "publish_time",
        "latest_at",
        "earliest_at",
        "last_finished_at",
        "first_seen_at",
        "last_seen_at",
        "hour",
    ),
}


def read_tables(connection: psycopg.Connection[Any], schema: str = "jobtrail") -> Tables:
    """Return every row of every derived table."""
    return {table: Counter(_rows(connection, schema, table)) for table in COLUMNS}


def read_reused_ids(connection: psycopg.Connection[Any]) -> set[Row]:
    """Return namespace and id of the jobs whose id was used again, by the query that the answers use."""
    return set(
        connection.execute(
            "SELECT namespace, job_id FROM jobtrail.jobs AS job "
            "WHERE (is_repeated OR latest_at - occurred_at > interval '1 minute') AND jobtrail.has_reused_id(job)"
        )
    )


def _rows(connection: psycopg.Connection[Any], schema: str, table: str) -> Iterator[Row]:
    query = sql.SQL("SELECT {} FROM {}").format(
        sql.SQL(", ").join(_selected(column) for column in COLUMNS[table]), sql.Identifier(schema, table)
    )
    for row in connection.execute(query):
        yield tuple(tuple(sorted(value.items())) if isinstance(value, dict) else value for value in row)


def _selected(column: str) -> sql.Composable:
    if column in TIMES:  # EXTRACT returns an exact numeric for any year; datetime cannot represent all years
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(sql.Identifier(column))
    return sql.Identifier(column)


def difference(expected: Tables, found: Tables) -> list[str]:
    """Return a line for each row that is missing, unexpected or different; empty when the tables are equal."""
    return [line for table in COLUMNS for line in _table_difference(table, expected[table], found[table])]


def _table_difference(table: str, expected: Counter[Row], found: Counter[Row]) -> Iterator[str]:
    missing = sorted((expected - found).elements(), key=repr)
    unexpected = sorted((found - expected).elements(), key=repr)
    width = KEYS[table]
    for row in missing:
        twin = next((other for other in unexpected if other[:width] == row[:width]), None)
        if twin is None:
            yield f"{table}{row[:width]!r} is missing: {row[width:]!r}"
            continue
        unexpected.remove(twin)
        for column, value, other in zip(COLUMNS[table], row, twin, strict=True):
            if value != other:
                yield f"{table}{row[:width]!r}.{column}: expected {value!r}, found {other!r}"
        if row == twin:
            yield f"{table}{row[:width]!r}: expected {expected[row]} such rows, found {found[row]}"
    for row in unexpected:
        yield f"{table}{row[:width]!r} should not be there: {row[width:]!r}"
