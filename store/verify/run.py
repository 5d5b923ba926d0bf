"""Runs all comparisons, each with its table, its slices and its query."""

import json
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from schemas.contract import FAILURES, FINISHED, RANKS
from store.queries import queries
from store.verify.difference import TABLES, Difference, differences
from store.verify.naming import wrong_names
from store.verify.reading import differing, rows_of, snapshot
from store.verify.slices import Slice, by_edges, by_groups, by_jobs, by_time

_SUMS = queries("verify_sums")
_JOBS = queries("verify_jobs")
_OF_STATES: Final[dict[str, Any]] = {
    "ranks": json.dumps(RANKS),
    "finished": sorted(FINISHED),
    "failures": sorted(FAILURES),
}

Slices = Callable[[psycopg.Connection, datetime | None], Iterator[Slice]]


@dataclass(frozen=True)
class Check:
    """One comparison of the rows of ``table``."""

    table: str
    slices: Slices
    query: LiteralString


CHECKS: Final = (
    Check("outcomes_hourly", by_time, _SUMS["outcomes_hourly"]),
    Check("failure_groups_hourly", by_time, _SUMS["failure_groups_hourly"]),
    Check("failure_groups", by_groups, _SUMS["failure_groups"]),
    Check("failure_group_jobs", by_groups, _SUMS["failure_group_jobs"]),
    Check("jobs", by_time, _JOBS["jobs_behind_attempts"]),
    Check("jobs", by_jobs, _JOBS["jobs"]),
    Check("lineage_edges", by_jobs, _JOBS["parents"]),
    Check("lineage_edges", by_edges, _JOBS["lineage_edges"]),
)


@dataclass(frozen=True)
class Progress:
    """Slice ``number`` of ``of`` (None: not known) of a comparison of ``table`` is done."""

    table: str
    number: int
    of: int | None


def verify(
    connection: psycopg.Connection,
    *,
    tables: Collection[str] = TABLES,
    since: datetime | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> Iterator[Difference]:
    """Compare the tables with the rows they are derived from, and yield what differs.

    Works on the tables that the connection's ``search_path`` finds, while writers write: each slice is read in its own short
    snapshot. Memory is bounded, here and in the server. ``tables``: only these of ``TABLES``. ``since``: compare hourly
    aggregates and attempts only from its hour on; the other comparisons cover everything.

    Raises StoreError within an open transaction, psycopg.Error when the database does not answer.
    """
    for check in CHECKS:
        if check.table in tables:
            yield from _compare(connection, check, since, progress)
    if "failure_groups" in tables:
        for part in by_groups(connection, since):
            yield from wrong_names(connection, part)
            progress(Progress("failure_groups", part.number, part.of))


def unknown_upstreams(connection: psycopg.Connection) -> int:
    """Count edges from jobs without an event. They are not differences: the event may still arrive, or was expired."""
    total = 0
    for part in by_edges(connection, None):
        with snapshot(connection):
            ((edges,),) = rows_of(connection, _JOBS["unknown_upstreams"], part.parameters)
        total += edges
    return total


def _compare(
    connection: psycopg.Connection, check: Check, since: datetime | None, progress: Callable[[Progress], None]
) -> Iterator[Difference]:
    for part in check.slices(connection, since):
        for row in differing(connection, check.query, _OF_STATES | part.parameters):
            yield from differences(*row)
        progress(Progress(check.table, part.number, part.of))
