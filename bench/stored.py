"""Stores many jobs of the workload as if they had been aggregated, but in minutes instead of hours.

A template of 20,000 jobs is written by the product's own fold and writer. The other jobs are copies of it with their
own ids, made by SQL; aggregates are multiplied. A test compares such tables with the aggregated events.

Ids are numbers in order, like those of a database sequence, or scattered, like UUIDs: then every new row goes to
another page of every index.
"""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import md5
from itertools import islice
from typing import Any, Final

import psycopg
from psycopg import sql

from derive.fold import fold
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch
from testing.workload import encoded, events

TEMPLATE_JOBS: Final = 20_000
_COPIES_AT_ONCE: Final = 10
_BATCH_EVENTS: Final = 10_000

# The columns that differ in each copy, and the columns that are multiplied. Other tables hold no data of jobs.
_ID_COLUMNS: Final = {
    "jobs": ("job_id", "root_job_id", "parent_job_id"),
    "attempts": ("job_id",),
    "lineage_edges": ("upstream_job_id", "job_id"),
    "failure_group_jobs": ("job_id",),
}
_SUM_COLUMNS: Final = {
    "failure_groups": ("occurrence_count", "job_count"),
    "failure_groups_hourly": ("occurrence_count",),
    "outcomes_hourly": ("completed", "retryable", "discarded", "cancelled"),
}


@dataclass(frozen=True)
class Ids:
    """How a job's number becomes its id, in Python and in SQL."""

    name: str
    of: Callable[[int], str]
    statement: sql.SQL


IN_ORDER: Final = Ids("ids in order", str, sql.SQL("({})::text"))
SCATTERED: Final = Ids(
    "ids scattered", lambda number: md5(str(number).encode()).hexdigest(), sql.SQL("md5(({})::text)")
)


def renamed(made: Iterator[dict[str, Any]], ids: Ids, shift: int = 0) -> Iterator[dict[str, Any]]:
    """Yield events of the workload with other ids: the job's number is increased by ``shift``."""
    for event in made:
        named = {
            name: ids.of(int(event[name]) + shift)
            for name in ("job_id", "root_job_id", "parent_job_id")
            if event[name]
        }
        yield {**event, **named}


def template(start_us: int, jobs: int) -> Iterator[dict[str, Any]]:
    """Return the events of the template."""
    return events(jobs, seed=11, start_us=start_us)


def store(database_url: str, made: Iterator[dict[str, Any]]) -> None:
    """Aggregate events of the workload as the product does, batch by batch."""
    decode = decoder(SCHEMA_TEXT)
    with closing(_connect(database_url)) as connection:
        prepare_session(connection)
        while batch := list(islice(made, _BATCH_EVENTS)):
            write_batch(connection, fold([decode(message.payload) for message in encoded(batch)]))


def fill(database_url: str, jobs: int, ids: Ids, start_us: int, template_jobs: int = TEMPLATE_JOBS) -> None:
    """Store ``jobs`` jobs into empty tables, then VACUUM ANALYZE and make a checkpoint.

    Raises ValueError when ``jobs`` is not a multiple of the template's jobs.
    """
    copies, rest = divmod(jobs, template_jobs)
    if rest:
        raise ValueError(f"expected a multiple of {template_jobs:,} jobs, got {jobs:,}")
    store(database_url, template(start_us, template_jobs))
    with closing(_connect(database_url)) as connection:
        connection.execute("SET synchronous_commit = off")
        for table in (*_ID_COLUMNS, *_SUM_COLUMNS):
            # Not temporary, so that other sessions can read them.
            connection.execute(
                sql.SQL("CREATE TABLE {} AS TABLE {}").format(_template_name(table), sql.Identifier(table))
            )
            connection.execute(sql.SQL("TRUNCATE {}").format(sql.Identifier(table)))
        connection.commit()
        for first in range(0, copies, _COPIES_AT_ONCE):
            last = min(first + _COPIES_AT_ONCE, copies) - 1
            for table, columns in _ID_COLUMNS.items():
                connection.execute(
                    _copy(connection, table, columns, ids, template_jobs), {"first": first, "last": last}
                )
            connection.commit()
        for table, columns in _SUM_COLUMNS.items():
            connection.execute(_multiplied(connection, table, columns, copies))
        for table in (*_ID_COLUMNS, *_SUM_COLUMNS):
            connection.execute(sql.SQL("DROP TABLE {}").format(_template_name(table)))
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def new_events(jobs: int, first_job: int, ids: Ids, start_us: int) -> Iterator[dict[str, Any]]:
    """Return events of jobs that are not stored yet: their numbers are beyond those of all stored jobs."""
    return renamed(events(jobs, seed=13, start_us=start_us, first_job=first_job), ids)


def _copy(
    connection: psycopg.Connection, table: str, id_columns: tuple[str, ...], ids: Ids, step: int
) -> sql.Composed:
    """Return SQL that inserts the template's rows once for each copy, with its ids; an empty id stays empty."""
    expressions: list[sql.Composable] = []
    for column in _columns(connection, table):
        name = sql.Identifier(column)
        if column in id_columns:
            number = sql.SQL("{}::bigint + copy * {}").format(name, sql.Literal(step))
            expressions.append(
                sql.SQL("CASE WHEN {} = '' THEN '' ELSE {} END").format(name, ids.statement.format(number))
            )
        else:
            expressions.append(name)
    return sql.SQL(
        "INSERT INTO {} ({}) SELECT {} FROM generate_series(%(first)s::bigint, %(last)s) AS copy, {} ORDER BY copy"
    ).format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, _columns(connection, table))),
        sql.SQL(", ").join(expressions),
        _template_name(table),
    )


def _multiplied(
    connection: psycopg.Connection, table: str, sum_columns: tuple[str, ...], copies: int
) -> sql.Composed:
    columns = _columns(connection, table)
    expressions: list[sql.Composable] = [
        sql.SQL("{} * {}").format(sql.Identifier(column), sql.Literal(copies))
        if column in sum_columns
        else sql.Identifier(column)
        for column in columns
    ]
    return sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
        sql.Identifier(table),
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", ").join(expressions),
        _template_name(table),
    )


def _columns(connection: psycopg.Connection, table: str) -> list[str]:
    found = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        (table,),
    )
    return [name for (name,) in found]


def _template_name(table: str) -> sql.Identifier:
    return sql.Identifier(f"template_{table}")


def _connect(database_url: str) -> psycopg.Connection:
    return connect(DatabaseSettings.load(database_url=database_url), "jobtrail bench")
