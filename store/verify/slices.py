"""Divides the work into slices: by time, by failure groups, or by keys. Each is small enough for one short snapshot."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString

import psycopg

from store.hours import start_of_hour
from store.queries import queries
from store.verify.reading import rows_of, snapshot

ROWS: Final = 50_000
"""How many jobs or edges a slice has."""

OCCURRENCES: Final = 200_000
"""How many failures a slice of groups has; a group with more is a separate slice."""

_JOB_KEY: Final = ("job_id", "namespace")
_EDGE_KEY: Final = ("upstream", "job_id", "kind", "namespace")
_QUERIES = queries("verify_slices")


@dataclass(frozen=True)
class Slice:
    """The parameters for a comparing query. This is slice ``number`` of ``of`` (None: not known)."""

    parameters: dict[str, Any]
    number: int
    of: int | None


def by_time(connection: psycopg.Connection, since: datetime | None) -> Iterator[Slice]:
    """Yield slices between the bounds of the partitions of `attempts`. Each lies in one partition, maybe the default one.

    ``since``: begin with its hour.
    """
    # Not strftime: its %Y does not pad years before 1000.
    first = "-infinity" if since is None else start_of_hour(since).isoformat()
    with snapshot(connection):
        bounds = [bound for (bound,) in rows_of(connection, _QUERIES["partition_bounds"], {"first": first})]
    begins = [first, *bounds]
    for number, (begin, end) in enumerate(zip(begins, [*bounds, None], strict=True), start=1):
        yield Slice({"from_time": begin, "to_time": end}, number, len(begins))


def by_groups(connection: psycopg.Connection, since: datetime | None) -> Iterator[Slice]:
    """Yield ranges of failure group ids. Together they cover every possible id. ``since`` is not used."""
    with snapshot(connection):
        bounds = [
            bound for (bound,) in rows_of(connection, _QUERIES["group_bounds"], {"occurrences": OCCURRENCES})
        ]
    ends = [*bounds[:-1], None]
    for number, (after, last) in enumerate(zip([None, *bounds[:-1]], ends, strict=True), start=1):
        yield Slice({"after_id": after, "last_id": last}, number, len(ends))


def by_jobs(connection: psycopg.Connection, since: datetime | None) -> Iterator[Slice]:
    """Yield ranges of the keys of jobs. ``since`` is not used."""
    return _by_key(connection, "jobs", _JOB_KEY, _QUERIES["next_job"])


def by_edges(connection: psycopg.Connection, since: datetime | None) -> Iterator[Slice]:
    """Yield ranges of the keys of edges. ``since`` is not used."""
    return _by_key(connection, "lineage_edges", _EDGE_KEY, _QUERIES["next_edge"])


def _by_key(
    connection: psycopg.Connection, table: str, columns: tuple[str, ...], next_key: LiteralString
) -> Iterator[Slice]:
    """Yield ranges of ``ROWS`` keys. The last one has no end, so that it includes rows added meanwhile."""
    of = max(1, round(_estimated_rows(connection, table) / ROWS)) or None
    last: tuple[Any, ...] | None = (None,) * len(columns)
    number = 0
    while last is not None:
        after, number = last, number + 1
        parameters = {f"after_{column}": value for column, value in zip(columns, after, strict=True)}
        with snapshot(connection):
            last = next(rows_of(connection, next_key, {**parameters, "rows": ROWS}), None)
        ends = {
            f"last_{column}": value
            for column, value in zip(columns, last or (None,) * len(columns), strict=True)
        }
        yield Slice(parameters | ends, number, of)


def _estimated_rows(connection: psycopg.Connection, table: str) -> int:
    with snapshot(connection):
        ((rows,),) = rows_of(connection, _QUERIES["rows_estimated"], {"table": table})
    return int(rows)
