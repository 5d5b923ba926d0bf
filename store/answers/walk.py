"""Walking the edges level by level: cycles end where they began, and bounds on jobs and levels are kept.

A level is one query, so the walk costs as many round trips as the lineage is deep; but the way up from a job, which is
short as a rule, is one query in all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, LiteralString, NamedTuple

import psycopg

from store.answers.reading import read
from store.queries import queries

Edges = Literal["spawned", "depends_on", "all"]

MAX_LEVELS = 1_000

# So many jobs above one are found in one query; where there are more, a query a level costs no more than they do.
NEAR_JOBS = 256

_QUERIES = queries("answers_walk")
DOWNSTREAM = _QUERIES["downstream"]
DOWNSTREAM_UNPLACED = _QUERIES["downstream_unplaced"]
UPSTREAM = _QUERIES["upstream"]


class _Reached(NamedTuple):
    job_id: str


class _Near(NamedTuple):
    level: int
    job_id: str


@dataclass(frozen=True)
class Walk:
    """``levels``: job id to its least distance from the seeds (theirs included). ``cut``: a bound ended the walk."""

    levels: dict[str, int]
    cut: bool


def kinds_of(edges: Edges) -> list[str]:
    """The kinds of edges that a choice of them stands for."""
    return ["spawned", "depends_on"] if edges == "all" else [edges]


def walk(
    connection: psycopg.Connection,
    namespace: str,
    seeds: Mapping[str, int],
    step: LiteralString,
    edges: Edges,
    limit_jobs: int,
) -> Walk:
    """All jobs reached from the seeds (job id to its level) by repeating one of the steps above.

    At most ``limit_jobs`` jobs besides the seeds and ``MAX_LEVELS`` levels.
    """
    levels = dict(seeds)
    waves: dict[int, list[str]] = {}
    for job_id, level in seeds.items():
        waves.setdefault(level, []).append(job_id)
    room = limit_jobs
    for _ in range(MAX_LEVELS):
        if not waves:
            return Walk(levels, cut=False)
        level = min(waves)
        found = read(
            connection,
            _Reached,
            step,
            namespace=namespace,
            frontier=waves.pop(level),
            kinds=kinds_of(edges),
            bound=room + len(levels) + 1,
        )
        new = [row.job_id for row in found if row.job_id not in levels]
        if len(new) > room:
            levels.update(dict.fromkeys(sorted(new)[:room], level + 1))
            return Walk(levels, cut=True)
        room -= len(new)
        levels.update(dict.fromkeys(new, level + 1))
        if new:
            waves.setdefault(level + 1, []).extend(new)
    return Walk(levels, cut=bool(waves))


def walk_up(
    connection: psycopg.Connection, namespace: str, job_id: str, edges: Edges, limit_jobs: int
) -> Walk:
    """As `walk`, of all jobs above one."""
    near = read(
        connection,
        _Near,
        _QUERIES["upstream_near"],
        namespace=namespace,
        job_id=job_id,
        kinds=kinds_of(edges),
        enough=NEAR_JOBS,
    )
    if len(near) > min(NEAR_JOBS, limit_jobs):
        return walk(connection, namespace, {job_id: 0}, UPSTREAM, edges, limit_jobs)
    return Walk({row.job_id: row.level for row in near}, cut=False)
