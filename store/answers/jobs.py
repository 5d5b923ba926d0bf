"""The jobs of a run, one by one: where each stands, who spawned it for what, and why it failed."""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from store.answers.reading import read, snapshot
from store.answers.scope import DEFAULT_WALK_LIMIT, find_scope
from store.queries import queries

_QUERIES = queries("answers_jobs")


class RunJob(NamedTuple):
    """One job. ``since``: when it entered its state. The error is that of the attempt which brought it there."""

    job_id: str
    worker: str
    depth: int
    state: str
    attempt: int
    since: datetime
    source: str | None
    external_id: str | None
    parent_job_id: str | None
    parent_worker: str | None
    parent_external_id: str | None
    error_category: str
    error_type: str
    failure_group_id: UUID | None
    error_message: str | None


@dataclass(frozen=True)
class RunJobs:
    """How many jobs of the run were asked for, and the first of them."""

    root: str
    namespace: str
    total: int
    jobs: list[RunJob]
    cut: bool


class _Count(NamedTuple):
    jobs: int


def get_jobs(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    *,
    worker: str | None = None,
    state: str | None = None,
    limit: int = 100,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> RunJobs:
    """Jobs of the run, of one worker or state if given, by depth, worker, state and id. Raises NotFoundError."""
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        asked = scope.parameters() | {"worker": worker, "state": state}
        total = read(connection, _Count, _QUERIES["count_of_run"], **asked)[0].jobs
        jobs = read(connection, RunJob, _QUERIES["jobs_of_run"], **asked, limit=limit)
    return RunJobs(scope.root, namespace, total, jobs, scope.cut)
