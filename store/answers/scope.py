"""Finds the jobs that a query for ROOT covers: the job itself, its namespace, and the extent of its run.

Jobs that say their root and depth are found by an index and are not listed here. The others are found by walking, within
a limit, and kept as a list. So a run of a million jobs that all say their place costs nothing extra.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg

from schemas.errors import InputError, NotFoundError
from store.answers.names import require_namespace
from store.answers.reading import read, snapshot
from store.answers.walk import DOWNSTREAM, UPSTREAM, walk
from store.queries import queries

DEFAULT_WALK_LIMIT = 100_000

# In a run of up to this many members, it is cheaper to search below each member for unplaced jobs; in a larger one, to search
# above each unplaced job of the namespace.
_FEW_MEMBERS: Final = 5_000

_QUERIES = queries("answers_scope")


class Job(NamedTuple):
    """What a query needs to know about its job. Not known: '' for root and parent, -1 for depth."""

    job_id: str
    worker: str
    state: str
    attempt: int
    occurred_at: datetime
    started_at: datetime | None
    external_id: str | None
    root_job_id: str
    parent_job_id: str
    depth: int

    @property
    def is_root(self) -> bool:
        """Whether it is the root of a run: it names itself as the root, or nothing above it is known.

        The indexes of `store/migrations/0004_answer_indexes.sql` have the same condition.
        """
        if self.root_job_id:
            return self.root_job_id == self.job_id
        return self.parent_job_id in ("", self.job_id)


class _Namespace(NamedTuple):
    namespace: str


class _Answer(NamedTuple):
    answer: bool


class _Count(NamedTuple):
    jobs: int


class _Unplaced(NamedTuple):
    job_id: str
    in_run: bool
    parent_job_id: str | None
    parent_depth: int | None


class _Place(NamedTuple):
    job_id: str
    root_job_id: str
    depth: int


@dataclass(frozen=True)
class Scope:
    """The jobs of a run, or of the part of it below one job.

    ``root`` is the job in the query. ``run`` is the root whose placed jobs all count (None: only the walked ones do).
    ``walked`` maps the other jobs to their depth, -1 if not known. ``cut_at`` is the limit of jobs that ended the walk: then
    the answer covers a part, and nothing may be concluded from what it lacks. None: it is whole. ``run_root`` is the root of
    the run that all of this belongs to; None if not known.
    """

    namespace: str
    root: str
    run: str | None
    walked: dict[str, int]
    cut_at: int | None
    run_root: str | None

    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the named queries about a run."""
        return {
            "namespace": self.namespace,
            "run": self.run,
            "walked_ids": list(self.walked),
            "walked_depths": list(self.walked.values()),
        }


def find_namespace(connection: psycopg.Connection, job: str) -> str:
    """Return the one namespace that has the job. Raises NotFoundError when none has, InputError when several have."""
    found: list[str] = []
    for job_id in _spellings(job):
        found = found or [
            row.namespace
            for row in read(connection, _Namespace, _QUERIES["namespaces_of_job"], job_id=job_id)
        ]
    if not found:
        raise NotFoundError(_no_job(job, "any namespace"))
    if len(found) > 1:
        raise InputError(
            f"job {job!r} exists in {len(found)} namespaces: {', '.join(found)}. "
            "Choose one with --namespace or JOBTRAIL_NAMESPACE."
        )
    return found[0]


def find_job(connection: psycopg.Connection, namespace: str, job: str) -> Job:
    """Return the job with this id, which may have a # before it. Raises NotFoundError."""
    for job_id in _spellings(job):
        found = read_job(connection, namespace, job_id)
        if found is not None:
            return found
    require_namespace(connection, namespace)
    raise NotFoundError(_no_job(job, f"the namespace {namespace!r}"))


def read_job(connection: psycopg.Connection, namespace: str, job_id: str) -> Job | None:
    """Return the job with exactly this id; None if no event about it is stored."""
    return next(iter(read(connection, Job, _QUERIES["job"], namespace=namespace, job_id=job_id)), None)


def find_scope(
    connection: psycopg.Connection, namespace: str, root: str, limit_jobs: int = DEFAULT_WALK_LIMIT
) -> Scope:
    """Return the run of a root, or what lies below a job that is not a root. Raises NotFoundError."""
    with snapshot(connection):
        for job_id in _spellings(root):
            job = read_job(connection, namespace, job_id)
            if job is not None and not job.is_root:
                return _below(connection, namespace, job, limit_jobs)
            if job is not None or _is_named_by_others(connection, namespace, job_id):
                return scope_of_run(connection, namespace, job_id, limit_jobs)
    require_namespace(connection, namespace)
    raise NotFoundError(_no_job(root, f"the namespace {namespace!r}"))


def whole_run(connection: psycopg.Connection, scope: Scope, limit_jobs: int) -> Scope | None:
    """Return the scope of the whole run that a scope is part of; None if not known."""
    if scope.run is not None:
        return scope
    if scope.run_root is None:
        return None
    return scope_of_run(connection, scope.namespace, scope.run_root, limit_jobs)


def run_root_of(connection: psycopg.Connection, namespace: str, job: Job, limit_jobs: int) -> str | None:
    """Return the root of the run that the job belongs to; None if not known."""
    return _place_of(connection, namespace, job, limit_jobs)[0]


def has_unplaced_jobs(connection: psycopg.Connection, namespace: str, root: str | None = None) -> bool:
    """Return whether a job of the namespace has a parent and no root, or a job of the run has no depth."""
    return read(connection, _Answer, _QUERIES["has_unplaced_jobs"], namespace=namespace, root=root)[0].answer


def scope_of_run(connection: psycopg.Connection, namespace: str, root: str, limit_jobs: int) -> Scope:
    """Return the run of a root, even if no event about the root is stored."""
    asked = {"namespace": namespace, "root": root}
    job = read_job(connection, namespace, root)
    root_is_placed = job is None or (job.root_job_id == root and job.depth >= 0)
    if root_is_placed and not has_unplaced_jobs(connection, namespace, root):
        return Scope(namespace, root, root, {}, None, root)
    members = read(connection, _Count, _QUERIES["count_members"], **asked, bound=limit_jobs + 1)[0].jobs
    if members > _FEW_MEMBERS:
        rows = read(connection, _Unplaced, _QUERIES["unplaced_jobs"], **asked, bound=limit_jobs + 1)
        if len({row.job_id for row in rows}) <= limit_jobs:
            return Scope(namespace, root, root, _adopted(root, rows, root_is_placed), None, root)
    if members > limit_jobs:
        # Too many members to search below each, and too many unplaced jobs to search above each.
        return Scope(namespace, root, root, {}, limit_jobs, root)
    bound = 1 + members + limit_jobs + 1
    rows = read(connection, _Unplaced, _QUERIES["unplaced_below"], **asked, bound=bound)
    nearest = [job_id for job_id in dict.fromkeys(row.job_id for row in rows) if job_id != root]
    kept = {root, *nearest[:limit_jobs]}
    walked = _adopted(root, [row for row in rows if row.job_id in kept], root_is_placed)
    return Scope(namespace, root, root, walked, limit_jobs if len(nearest) > limit_jobs else None, root)


def _spellings(job: str) -> list[str]:
    """Return the ids to look up: the text itself, then the text without a leading #, because people write #12345."""
    return [job, job[1:]] if job.startswith("#") and len(job) > 1 else [job]


def _no_job(job: str, where: str) -> str:
    return (
        f"no job with the id {job!r} in {where}. `jobtrail runs list` shows the runs, `jobtrail lineage jobs ROOT` the "
        "jobs of one with their external ids; a job is found by its own id, not by an external id."
    )


def _is_named_by_others(connection: psycopg.Connection, namespace: str, job_id: str) -> bool:
    return read(connection, _Answer, _QUERIES["is_named_by_others"], namespace=namespace, job_id=job_id)[
        0
    ].answer


def _below(connection: psycopg.Connection, namespace: str, job: Job, limit_jobs: int) -> Scope:
    run_root, depth = _place_of(connection, namespace, job, limit_jobs)
    if run_root == job.job_id:
        return scope_of_run(connection, namespace, job.job_id, limit_jobs)
    reached = walk(connection, namespace, job.job_id, DOWNSTREAM, "spawned", limit_jobs)
    walked = {job.job_id: depth} | {below: depth + away for below, away in reached.distances.items()}
    return Scope(namespace, job.job_id, None, walked, reached.cut_at, run_root)


def _place_of(
    connection: psycopg.Connection, namespace: str, job: Job, limit_jobs: int
) -> tuple[str | None, int]:
    """Return the root of the job's run (None: not known) and the job's depth: from the job's row, else from its ancestors.

    A job in a circle of parents that no other job leads into is its own root.
    """
    if job.is_root:
        return job.job_id, 0
    if job.root_job_id and job.depth >= 0:
        return job.root_job_id, job.depth
    above = walk(connection, namespace, job.job_id, UPSTREAM, "spawned", limit_jobs)
    placed = read(
        connection, _Place, _QUERIES["places_of_jobs"], namespace=namespace, job_ids=list(above.distances)
    )
    nearest = min(
        (
            (above.distances[place.job_id], place)
            for place in placed
            if place.root_job_id and place.depth >= 0
        ),
        default=None,
    )
    if nearest is not None:
        return nearest[1].root_job_id, nearest[1].depth + nearest[0]
    if above.cut_at is not None:
        return job.root_job_id or None, 0
    top = _top_of(connection, namespace, job, above.distances)
    return job.root_job_id or top, above.distances.get(top, 0)


def _top_of(connection: psycopg.Connection, namespace: str, job: Job, distances: Mapping[str, int]) -> str:
    """Return the farthest job above one; the job itself if there is none, or only a circle."""
    farthest = min(distances, key=lambda job_id: (-distances[job_id], job_id), default=job.job_id)
    known = read_job(connection, namespace, farthest)
    return farthest if known is None or known.is_root else job.job_id


def _adopted(root: str, rows: list[_Unplaced], root_is_placed: bool) -> dict[str, int]:
    """Return the unplaced jobs of this run, found below its jobs and in turn below those, with their least depth.

    A job that names the run but is reached by no edge has depth -1.
    """
    children: dict[str, list[str]] = {}
    due: dict[int, list[str]] = {0: [root]}
    for row in rows:
        if row.parent_job_id is not None:
            children.setdefault(row.parent_job_id, []).append(row.job_id)
        if row.parent_depth is not None:
            due.setdefault(row.parent_depth + 1, []).append(row.job_id)
    depths: dict[str, int] = {}
    while due:
        depth = min(due)
        for job_id in due.pop(depth):
            if job_id not in depths:
                depths[job_id] = depth
                below = children.get(job_id)
                if below:
                    due.setdefault(depth + 1, []).extend(below)
    if root_is_placed:
        del depths[root]
    return {row.job_id: -1 for row in rows if row.in_run} | depths
