"""Answers questions of lineage: the tree of a run, its stages, a job's children and ancestors."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from store.answers.judging import Key, find_lost_jobs, may_be_lost
from store.answers.reading import read, snapshot
from store.answers.reused_ids import ReusedId, get_reused_ids
from store.answers.scope import (
    DEFAULT_WALK_LIMIT,
    Job,
    Scope,
    find_job,
    find_scope,
    read_job,
    run_root_of,
    scope_of_run,
)
from store.answers.stages import Stage, read_stages
from store.answers.tree import (
    After,
    Dependency,
    FailureMark,
    Link,
    Node,
    afters,
    dependency_tree,
    order_of,
    spawn_tree,
)
from store.answers.verdicts import StuckRule
from store.answers.walk import DOWNSTREAM, UPSTREAM, Edges, kinds_of, walk
from store.queries import queries

_QUERIES = queries("answers_lineage")


@dataclass(frozen=True)
class PipelineStats:
    """The stages of a run. ``cut_at``: the limit of jobs that ended the walk to jobs that do not say their root."""

    root: str
    namespace: str
    stages: list[Stage]
    cut_at: int | None


@dataclass(frozen=True)
class JobTree:
    """The stages of a run as a tree; ``tops`` is one node unless no event about the root is stored."""

    root: str
    namespace: str
    edges: Edges
    tops: tuple[Node, ...]
    cut_at: int | None


class Child(NamedTuple):
    """A job one edge below another; ``kinds`` are the kinds of edge. ``lost``: its last event says it executes, but it does not.

    ``reused_id``: the evidence that its id was used again.
    """

    job_id: str
    worker: str
    state: str
    attempt: int
    external_id: str | None
    kinds: list[str]
    lost: bool
    reused_id: ReusedId | None


class ChildCount(NamedTuple):
    """Children of one worker in one state, by their kinds of edge. Each job counts once."""

    worker: str
    state: str
    kinds: list[str]
    jobs: int


@dataclass(frozen=True)
class Children:
    """The jobs one edge below a job: counts of all, and ``jobs`` up to the limit.

    ``descendants``: all jobs below it, up to ``cut_at`` if that is set.
    """

    job: Job
    job_lost: bool
    job_reused_id: ReusedId | None
    namespace: str
    edges: Edges
    counts: list[ChildCount]
    jobs: list[Child]
    descendants: int
    cut_at: int | None


class Ancestor(NamedTuple):
    """A job above another; ``distance`` counts the edges of the shortest way. Empty worker: no event about it is stored."""

    job_id: str
    distance: int
    worker: str
    state: str
    attempt: int
    external_id: str | None
    lost: bool
    reused_id: ReusedId | None


@dataclass(frozen=True)
class Ancestors:
    """The jobs above one, the farthest first: along ``spawned`` edges that is the path from the root.

    ``total`` counts them, up to ``cut_at`` if that is set; ``ancestors`` holds the nearest, up to the limit.
    """

    job: Job
    job_lost: bool
    job_reused_id: ReusedId | None
    namespace: str
    edges: Edges
    total: int
    ancestors: list[Ancestor]
    cut_at: int | None


class _Child(NamedTuple):
    job_id: str
    worker: str
    state: str
    attempt: int
    occurred_at: datetime
    started_at: datetime | None
    external_id: str | None
    kinds: list[str]


class _SpawnLink(NamedTuple):
    parent_depth: int | None
    parent_worker: str | None
    depth: int
    worker: str
    state: str
    jobs: int
    sample_job_id: str


class _DependencyLink(NamedTuple):
    parent_depth: int
    parent_worker: str
    depth: int
    worker: str
    edges: int
    jobs: int


class _Failure(NamedTuple):
    depth: int
    worker: str
    category: str
    jobs: int
    groups: int


class _Known(NamedTuple):
    job_id: str
    worker: str
    state: str
    attempt: int
    occurred_at: datetime
    started_at: datetime | None
    external_id: str | None


def get_pipeline_stats(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> PipelineStats:
    """Return each stage of the run: its jobs, how many were announced, their states, and its verdict at ``now``.

    Raises NotFoundError when the namespace has no such job.
    """
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        stages = read_stages(connection, scope, now or datetime.now(UTC), rule, limit_jobs)
    return PipelineStats(scope.root, namespace, stages, scope.cut_at)


def get_job_tree(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    edges: Edges = "spawned",
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> JobTree:
    """Return the stages of the run as a tree: by who spawned whom, by what had to finish first, or both.

    With ``all``, the tree is by who spawned whom, and each line names the stages it had to wait for. Raises NotFoundError.
    """
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        stages = read_stages(connection, scope, now or datetime.now(UTC), rule, limit_jobs)
        marks = _failure_marks(connection, scope)
        links = _spawn_links(connection, scope)
        dependencies = [] if edges == "spawned" else _dependency_links(connection, scope)
        top = _top(connection, scope)
    if edges == "depends_on":
        single = {(link.child, link.sample_job_id) for link in links if link.jobs == 1}
        tops = tuple(_named(node, dict(single)) for node in dependency_tree(stages, dependencies, marks, top))
    else:
        tops = spawn_tree(stages, links, marks, top)
    if edges == "all":
        waits = afters(dependencies)
        order = order_of(waits)
        tops = tuple(_waiting(node, waits, order) for node in tops)
    return JobTree(scope.root, namespace, edges, tops, scope.cut_at)


def get_children(
    connection: psycopg.Connection,
    namespace: str,
    job: str,
    edges: Edges = "spawned",
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit: int = 100,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Children:
    """Return the jobs one edge below a job, and count all jobs below it. Raises NotFoundError."""
    with snapshot(connection):
        found = find_job(connection, namespace, job)
        asked = {"namespace": namespace, "job_id": found.job_id, "kinds": kinds_of(edges)}
        counts = read(connection, ChildCount, _QUERIES["children_states"], **asked)
        children = read(connection, _Child, _QUERIES["children"], **asked, limit=limit)
        below = walk(connection, namespace, found.job_id, DOWNSTREAM, edges, limit_jobs)
        lost = _lost_among(
            connection, namespace, found, [found, *children], now or datetime.now(UTC), rule, limit_jobs
        )
        listed = [found.job_id, *(child.job_id for child in children)]
        reused = get_reused_ids(connection, ((namespace, job_id) for job_id in listed))
    jobs = [
        Child(
            job_id=child.job_id,
            worker=child.worker,
            state=child.state,
            attempt=child.attempt,
            external_id=child.external_id,
            kinds=child.kinds,
            lost=child.job_id in lost,
            reused_id=reused.get((namespace, child.job_id)),
        )
        for child in children
    ]
    return Children(
        job=found,
        job_lost=found.job_id in lost,
        job_reused_id=reused.get((namespace, found.job_id)),
        namespace=namespace,
        edges=edges,
        counts=counts,
        jobs=jobs,
        descendants=len(below.distances),
        cut_at=below.cut_at,
    )


def get_ancestors(
    connection: psycopg.Connection,
    namespace: str,
    job: str,
    edges: Edges = "spawned",
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit: int | None = None,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Ancestors:
    """Return the nearest ``limit`` jobs above one, the farthest first. Jobs in a circle are returned once.

    Raises NotFoundError.
    """
    with snapshot(connection):
        found = find_job(connection, namespace, job)
        above = walk(connection, namespace, found.job_id, UPSTREAM, edges, limit_jobs)
        ids = sorted(above.distances, key=lambda job_id: (above.distances[job_id], job_id))[:limit]
        known = {
            row.job_id: row
            for row in read(connection, _Known, _QUERIES["jobs_by_id"], namespace=namespace, job_ids=ids)
        }
        lost = _lost_among(
            connection, namespace, found, [found, *known.values()], now or datetime.now(UTC), rule, limit_jobs
        )
        reused = get_reused_ids(connection, ((namespace, job_id) for job_id in (found.job_id, *known)))
    ancestors = []
    for job_id in ids:
        row = known.get(job_id)
        ancestors.append(
            Ancestor(
                job_id=job_id,
                distance=above.distances[job_id],
                worker=row.worker if row else "",
                state=row.state if row else "",
                attempt=row.attempt if row else 0,
                external_id=row.external_id if row else None,
                lost=job_id in lost,
                reused_id=reused.get((namespace, job_id)),
            )
        )
    ancestors.sort(key=lambda ancestor: (-ancestor.distance, ancestor.worker, ancestor.job_id))
    return Ancestors(
        job=found,
        job_lost=found.job_id in lost,
        job_reused_id=reused.get((namespace, found.job_id)),
        namespace=namespace,
        edges=edges,
        total=len(above.distances),
        ancestors=ancestors,
        cut_at=above.cut_at,
    )


def _lost_among(
    connection: psycopg.Connection,
    namespace: str,
    job: Job,
    listed: Iterable[Job | _Child | _Known],
    now: datetime,
    rule: StuckRule,
    limit_jobs: int,
) -> frozenset[str]:
    """Return the lost jobs of the job's run, if any of the listed ones has been executing for long enough to ask."""
    if not any(may_be_lost(one.state, one.started_at, one.occurred_at, now, rule) for one in listed):
        return frozenset()
    root = run_root_of(connection, namespace, job, limit_jobs)
    run = None if root is None else scope_of_run(connection, namespace, root, limit_jobs)
    return find_lost_jobs(connection, run, now, rule)


def _top(connection: psycopg.Connection, scope: Scope) -> Key | None:
    """Return the stage of the job asked about; None if no event about it is stored."""
    known = read_job(connection, scope.namespace, scope.root)
    return None if known is None else Key(scope.walked.get(scope.root, known.depth), known.worker)


def _spawn_links(connection: psycopg.Connection, scope: Scope) -> list[Link]:
    rows = read(connection, _SpawnLink, _QUERIES["spawn_links"], **scope.parameters())
    return [
        Link(
            None
            if row.parent_depth is None or row.parent_worker is None
            else Key(row.parent_depth, row.parent_worker),
            Key(row.depth, row.worker),
            row.state,
            row.jobs,
            row.sample_job_id,
        )
        for row in rows
    ]


def _dependency_links(connection: psycopg.Connection, scope: Scope) -> list[Dependency]:
    rows = read(connection, _DependencyLink, _QUERIES["dependency_links"], **scope.parameters())
    return [
        Dependency(Key(row.parent_depth, row.parent_worker), Key(row.depth, row.worker), row.edges, row.jobs)
        for row in rows
    ]


def _failure_marks(connection: psycopg.Connection, scope: Scope) -> dict[Key, tuple[FailureMark, ...]]:
    marks: dict[Key, tuple[FailureMark, ...]] = {}
    for row in read(connection, _Failure, _QUERIES["stage_failures"], **scope.parameters()):
        key = Key(row.depth, row.worker)
        marks[key] = (*marks.get(key, ()), FailureMark(row.category, row.jobs, row.groups))
    return marks


def _named(node: Node, single: dict[Key, str]) -> Node:
    """Return the same tree, with the job's id on each line of a single job."""
    children = tuple(_named(child, single) for child in node.children)
    job_id = single.get(Key(node.depth, node.worker)) if node.total == 1 else None
    return replace(node, job_id=job_id, children=children)


def _waiting(node: Node, waits: dict[Key, tuple[After, ...]], order: dict[Key, int]) -> Node:
    """Return the same tree, with the stages that each stage had to wait for, and its siblings in that order."""
    below = sorted(
        node.children, key=lambda child: (child.depth, order.get(Key(child.depth, child.worker), 0))
    )
    children = tuple(_waiting(child, waits, order) for child in below)
    after = waits.get(Key(node.depth, node.worker), ()) if node.main else ()
    return replace(node, after=after, children=children)
