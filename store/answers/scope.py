"""Which jobs a question about ROOT is about: the job named, its namespace, and the extent of its run.

Jobs that say their root and depth are found by an index and never listed here. The others are walked to, within
bounds, and carried as a short list; so a run of a million jobs that all say where they belong costs nothing extra.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg

from schemas.errors import InputError, NotFoundError
from store.answers.reading import read, snapshot
from store.answers.walk import DOWNSTREAM, DOWNSTREAM_UNPLACED, walk
from store.queries import queries

DEFAULT_WALK_LIMIT = 100_000

_QUERIES = queries("answers_scope")


class Job(NamedTuple):
    """What a question needs to know of the job it names. Not known: '' for root and parent, -1 for depth."""

    job_id: str
    worker: str
    state: str
    attempt: int
    external_id: str | None
    root_job_id: str
    parent_job_id: str
    depth: int


class _Namespace(NamedTuple):
    namespace: str


class _Answer(NamedTuple):
    answer: bool


class _Member(NamedTuple):
    job_id: str
    depth: int


class _Unplaced(NamedTuple):
    job_id: str
    in_run: bool
    parent_job_id: str | None
    parent_depth: int | None


@dataclass(frozen=True)
class Scope:
    """The jobs of a run, or of the part of it below one job.

    ``run`` is the root whose jobs all count (None: only the walked ones do); ``walked`` maps the other jobs to their
    depth, -1 where nobody knows it; ``cut`` says that a bound ended the walk, so that the answer is of a part.
    """

    namespace: str
    root: str
    run: str | None
    walked: dict[str, int]
    cut: bool

    def parameters(self) -> dict[str, Any]:
        """What the named queries over a run take."""
        return {
            "namespace": self.namespace,
            "run": self.run,
            "walked_ids": list(self.walked),
            "walked_depths": list(self.walked.values()),
        }


def find_namespace(connection: psycopg.Connection, job: str) -> str:
    """The one namespace that knows the job. Raises NotFoundError when none does, InputError when several do."""
    found: list[str] = []
    for job_id in _spellings(job):
        found = found or [
            row.namespace
            for row in read(connection, _Namespace, _QUERIES["namespaces_of_job"], job_id=job_id)
        ]
    if not found:
        raise NotFoundError(f"no job {job!r} in any namespace. `jobtrail runs list` shows what there is.")
    if len(found) > 1:
        raise InputError(
            f"job {job!r} exists in {len(found)} namespaces: {', '.join(found)}. "
            "Say which with --namespace or JOBTRAIL_NAMESPACE."
        )
    return found[0]


def find_job(connection: psycopg.Connection, namespace: str, job: str) -> Job:
    """The job by its id, or by its id with a # before it. Raises NotFoundError."""
    for job_id in _spellings(job):
        for found in read(connection, Job, _QUERIES["job"], namespace=namespace, job_id=job_id):
            return found
    raise NotFoundError(
        f"no job {job!r} in the namespace {namespace!r}. `jobtrail runs list` shows what there is."
    )


def find_scope(
    connection: psycopg.Connection, namespace: str, root: str, limit_jobs: int = DEFAULT_WALK_LIMIT
) -> Scope:
    """The run of a root, or what lies below a job that is none. Raises NotFoundError."""
    with snapshot(connection):
        for job_id in _spellings(root):
            job = next(iter(read(connection, Job, _QUERIES["job"], namespace=namespace, job_id=job_id)), None)
            names_it = read(
                connection, _Answer, _QUERIES["is_root_of_others"], namespace=namespace, job_id=job_id
            )
            if job is not None and job.root_job_id not in ("", job_id):
                return _below(connection, namespace, job, limit_jobs)
            if job is not None or names_it[0].answer:
                return _run(connection, namespace, job_id, limit_jobs)
    raise NotFoundError(
        f"no job {root!r} in the namespace {namespace!r}. `jobtrail runs list` shows what there is."
    )


def _spellings(job: str) -> list[str]:
    """An id may be given as people write it, #12345; one that really begins with # goes first."""
    return [job, job[1:]] if job.startswith("#") and len(job) > 1 else [job]


def _below(connection: psycopg.Connection, namespace: str, job: Job, limit_jobs: int) -> Scope:
    reached = walk(connection, namespace, {job.job_id: max(job.depth, 0)}, DOWNSTREAM, "spawned", limit_jobs)
    return Scope(namespace, job.job_id, None, reached.levels, reached.cut)


def _run(connection: psycopg.Connection, namespace: str, root: str, limit_jobs: int) -> Scope:
    rows = read(
        connection, _Unplaced, _QUERIES["unplaced_jobs"], namespace=namespace, root=root, bound=limit_jobs + 1
    )
    if len({row.job_id for row in rows}) <= limit_jobs:
        return Scope(namespace, root, root, _adopted(root, rows), cut=False)
    return _walked_run(connection, namespace, root, limit_jobs)


def _adopted(root: str, rows: list[_Unplaced]) -> dict[str, int]:
    """Of the unplaced jobs, those of this run, with their least depth: below a job of the run, and so on down.

    One that names the run but is reached by no edge has depth -1.
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
    if not any(row.job_id == root for row in rows):
        del depths[root]
    return {row.job_id: -1 for row in rows if row.in_run} | depths


def _walked_run(connection: psycopg.Connection, namespace: str, root: str, limit_jobs: int) -> Scope:
    """For a namespace where very many jobs do not say their run: go down from this run's own jobs instead."""
    members = read(
        connection, _Member, _QUERIES["members"], namespace=namespace, root=root, bound=limit_jobs + 1
    )
    too_many = len(members) > limit_jobs
    placed = {} if too_many else {member.job_id: member.depth for member in members if member.depth >= 0}
    unknown = {member.job_id: -1 for member in members if member.depth < 0}
    reached = walk(connection, namespace, {root: 0} | placed, DOWNSTREAM_UNPLACED, "spawned", limit_jobs)
    walked = unknown | {job_id: level for job_id, level in reached.levels.items() if job_id not in placed}
    own = next(iter(read(connection, Job, _QUERIES["job"], namespace=namespace, job_id=root)), None)
    if own is None or (own.root_job_id == root and own.depth >= 0):
        walked.pop(root, None)
    return Scope(namespace, root, root, walked, cut=too_many or reached.cut)
