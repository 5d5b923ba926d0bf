"""Lists the jobs of a run: the state of each, its parent, and why it failed."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import psycopg

from store.answers.judging import find_lost_jobs, may_be_lost, read_states
from store.answers.names import require_worker
from store.answers.reading import read, snapshot
from store.answers.reused_ids import ReusedId, get_reused_ids
from store.answers.scope import DEFAULT_WALK_LIMIT, find_scope, whole_run
from store.answers.verdicts import StuckRule
from store.queries import queries

_QUERIES = queries("answers_jobs")


class RunJob(NamedTuple):
    """One job. ``since``: when it entered its state. The error is that of the attempt that ended in this state.

    ``lost``: its last event says it executes, but it does not. ``reused_id``: the evidence that its id was used again.
    """

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
    lost: bool
    reused_id: ReusedId | None


@dataclass(frozen=True)
class RunJobs:
    """How many jobs of the run match, and the first of them."""

    root: str
    namespace: str
    total: int
    jobs: list[RunJob]
    cut_at: int | None


class _Row(NamedTuple):
    job_id: str
    worker: str
    depth: int
    state: str
    attempt: int
    since: datetime
    started_at: datetime | None
    source: str | None
    external_id: str | None
    parent_job_id: str | None
    parent_worker: str | None
    parent_external_id: str | None
    error_category: str
    error_type: str
    failure_group_id: UUID | None
    error_message: str | None


class _Count(NamedTuple):
    jobs: int


def get_jobs(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    *,
    worker: str | None = None,
    state: str | None = None,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit: int = 100,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> RunJobs:
    """Return jobs of the run, of one worker or state if given, by depth, worker, state and id. Raises NotFoundError."""
    now = now or datetime.now(UTC)
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        asked = scope.parameters() | {"worker": worker, "state": state}
        total = read(connection, _Count, _QUERIES["count_of_run"], **asked)[0].jobs
        rows = read(connection, _Row, _QUERIES["jobs_of_run"], **asked, limit=limit)
        if not total:
            require_worker(worker, sorted({key.worker for key in read_states(connection, scope)}), scope.root)
        lost: frozenset[str] = frozenset()
        if any(may_be_lost(row.state, row.started_at, row.since, now, rule) for row in rows):
            lost = find_lost_jobs(connection, whole_run(connection, scope, limit_jobs), now, rule)
        reused = get_reused_ids(connection, ((namespace, row.job_id) for row in rows))
    jobs = []
    for row in rows:
        shown = row._asdict()
        del shown["started_at"]
        jobs.append(RunJob(**shown, lost=row.job_id in lost, reused_id=reused.get((namespace, row.job_id))))
    return RunJobs(scope.root, namespace, total, jobs, scope.cut_at)
