"""Describes jobs whose id was used again: several runs under a fixed id (cron, unique jobs) are one job in the tables.

The state of such a job comes from its highest attempt, and from the highest rank within it, which may be long ago. So this
reads what else the tables have: how often an attempt ended, how the last one ended, and what came after that.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

import psycopg

from store.answers.judging import Key
from store.answers.reading import read, snapshot
from store.answers.scope import Scope
from store.queries import queries

_QUERIES = queries("answers_reused_ids")

JobKey = tuple[str, str]
"""Namespace and id of a job."""


class ReusedId(NamedTuple):
    """The evidence that the id of a job was used again.

    ``attempt`` is the one that ended most often, ``ends`` times: 1 if only its start was published again, 0 if its ends have
    been deleted. ``open_again_at``: when the job was waiting or executing after its last end; None if it was not.
    """

    namespace: str
    job_id: str
    worker: str
    state: str
    attempt: int
    ends: int
    last_outcome: str | None
    last_ended_at: datetime | None
    open_again_at: datetime | None


class _Key(NamedTuple):
    namespace: str
    job_id: str


class _OfRun(NamedTuple):
    namespace: str
    root: str
    jobs: int


class _OfStage(NamedTuple):
    depth: int
    worker: str
    jobs: int


def get_reused_ids(connection: psycopg.Connection, jobs: Iterable[JobKey]) -> dict[JobKey, ReusedId]:
    """Return the evidence for each of these jobs whose id was used again. The others are left out."""
    with snapshot(connection):
        found = read(connection, _Key, _QUERIES["reused_among"], **_columns(jobs))
        return describe_reused_ids(connection, found) if found else {}


def describe_reused_ids(connection: psycopg.Connection, jobs: Iterable[JobKey]) -> dict[JobKey, ReusedId]:
    """Return the evidence for jobs whose id is known to be used again."""
    with snapshot(connection):
        rows = read(connection, ReusedId, _QUERIES["reuse_of"], **_columns(jobs))
    return {(row.namespace, row.job_id): row for row in rows}


def count_reused_ids_of_runs(connection: psycopg.Connection, roots: Iterable[JobKey]) -> dict[JobKey, int]:
    """Return how many jobs of these runs have an id that was used again; runs without one are left out.

    Only jobs that name their root are counted.
    """
    columns = _columns(roots)
    columns["roots"] = columns.pop("job_ids")
    rows = read(connection, _OfRun, _QUERIES["reused_ids_of_runs"], **columns)
    return {(row.namespace, row.root): row.jobs for row in rows}


def count_reused_ids_of_stages(connection: psycopg.Connection, scope: Scope) -> dict[Key, int]:
    """Return how many jobs of the run's stages have an id that was used again; stages without one are left out."""
    rows = read(connection, _OfStage, _QUERIES["stage_reused_ids"], **scope.parameters())
    return {Key(row.depth, row.worker): row.jobs for row in rows}


def _columns(jobs: Iterable[JobKey]) -> dict[str, list[str]]:
    keys = sorted(set(jobs))
    return {"namespaces": [namespace for namespace, _ in keys], "job_ids": [job_id for _, job_id in keys]}
