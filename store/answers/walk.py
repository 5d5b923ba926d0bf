"""Walks along the edges from one job, up or down, to any depth. Circles end, and the number of jobs is limited.

A query reads many levels at once, so a chain of thousands of jobs takes a few round trips.
"""

from dataclasses import dataclass
from typing import Final, Literal, LiteralString, NamedTuple

import psycopg

from store.answers.reading import read
from store.queries import queries

Edges = Literal["spawned", "depends_on", "all"]

_ROWS_A_QUERY: Final = 20_000

_QUERIES = queries("answers_walk")
DOWNSTREAM = _QUERIES["downstream"]
UPSTREAM = _QUERIES["upstream"]


class _Reached(NamedTuple):
    level: int
    job_id: str


@dataclass(frozen=True)
class Walk:
    """The jobs reached, each with its shortest distance from the start. The start itself is left out.

    ``cut_at``: the limit of jobs that ended the walk; None if it reached all.
    """

    distances: dict[str, int]
    cut_at: int | None


def kinds_of(edges: Edges) -> list[str]:
    """Return the kinds of edges in a choice."""
    return ["spawned", "depends_on"] if edges == "all" else [edges]


def walk(
    connection: psycopg.Connection,
    namespace: str,
    job_id: str,
    direction: LiteralString,
    edges: Edges,
    limit_jobs: int,
) -> Walk:
    """Return the jobs below (``DOWNSTREAM``) or above (``UPSTREAM``) one, at most the ``limit_jobs`` nearest."""
    distances = {job_id: 0}
    frontier, level = [job_id], 0
    while frontier:
        rows, whole_levels = _next_levels(
            connection, namespace, frontier, direction, edges, limit_jobs + 1 + len(distances)
        )
        frontier = []
        for row in rows:
            if 0 < row.level <= whole_levels and row.job_id not in distances:
                if len(distances) > limit_jobs:
                    return Walk(_without(distances, job_id), limit_jobs)
                distances[row.job_id] = level + row.level
                if row.level == whole_levels:
                    frontier.append(row.job_id)
        level += whole_levels
    return Walk(_without(distances, job_id), None)


def _next_levels(
    connection: psycopg.Connection,
    namespace: str,
    frontier: list[str],
    direction: LiteralString,
    edges: Edges,
    most_jobs: int,
) -> tuple[list[_Reached], int]:
    """Read the levels after the frontier, and how many of them are whole: at least one."""
    asked = {"namespace": namespace, "frontier": frontier, "kinds": kinds_of(edges)}
    levels = max(1, _ROWS_A_QUERY // len(frontier))
    most_rows = len(frontier) + _ROWS_A_QUERY
    rows = read(connection, _Reached, direction, **asked, most_levels=levels, most_rows=most_rows)
    if len(rows) < most_rows:
        return rows, levels
    levels = rows[-1].level - 1
    if levels > 0:
        return rows, levels
    most_rows = len(frontier) + max(most_jobs, _ROWS_A_QUERY)
    return read(connection, _Reached, direction, **asked, most_levels=1, most_rows=most_rows), 1


def _without(distances: dict[str, int], job_id: str) -> dict[str, int]:
    return {reached: distance for reached, distance in distances.items() if reached != job_id}
