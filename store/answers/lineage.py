"""Where jobs came from and what came of them: the tree of a run, its stages, a job's children and ancestors."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from store.answers.reading import read, snapshot
from store.answers.scope import DEFAULT_WALK_LIMIT, Job, Scope, find_job, find_scope
from store.answers.stages import Key, Stage, read_stages
from store.answers.stuck import StuckRule
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
from store.answers.walk import DOWNSTREAM, Edges, kinds_of, walk, walk_up
from store.queries import queries

_QUERIES = queries("answers_lineage")


@dataclass(frozen=True)
class PipelineStats:
    """The stages of a run. ``cut``: a bound ended the walk to jobs that do not say their root, so some may lack."""

    root: str
    namespace: str
    stages: list[Stage]
    cut: bool


@dataclass(frozen=True)
class JobTree:
    """The stages of a run as a tree; ``tops`` is one node unless the root was never heard of."""

    root: str
    namespace: str
    edges: Edges
    tops: tuple[Node, ...]
    cut: bool


class Child(NamedTuple):
    """A job one edge below another; ``kind`` says which kind of edge."""

    job_id: str
    worker: str
    state: str
    attempt: int
    external_id: str | None
    kind: str


class ChildCount(NamedTuple):
    """Children of one worker in one state, by one kind of edge."""

    worker: str
    state: str
    kind: str
    jobs: int


@dataclass(frozen=True)
class Children:
    """The jobs one edge below a job: all of them counted, ``jobs`` up to the limit. ``descendants``: all below."""

    job: Job
    namespace: str
    edges: Edges
    counts: list[ChildCount]
    jobs: list[Child]
    descendants: int
    cut: bool


class Ancestor(NamedTuple):
    """A job above another, ``distance`` edges away at the least. Empty worker: an edge names it, no event did."""

    job_id: str
    distance: int
    worker: str
    state: str
    attempt: int
    external_id: str | None


@dataclass(frozen=True)
class Ancestors:
    """All jobs above one, the farthest first: over ``spawned`` that is the path from the root."""

    job: Job
    namespace: str
    edges: Edges
    ancestors: list[Ancestor]
    cut: bool


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
    """Per stage of the run: jobs, how many were expected, states, and whether it is stuck at ``now``.

    Raises NotFoundError when the namespace knows no such job.
    """
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        stages = read_stages(connection, scope, now or datetime.now(UTC), rule)
    return PipelineStats(scope.root, namespace, stages, scope.cut)


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
    """The stages of the run as a tree: by who spawned whom, or by what had to finish first, or both.

    With ``all`` the tree is that of spawning, and each line names the stages it had to wait for. Raises NotFoundError.
    """
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        stages = read_stages(connection, scope, now or datetime.now(UTC), rule)
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
    return JobTree(scope.root, namespace, edges, tops, scope.cut)


def get_children(
    connection: psycopg.Connection,
    namespace: str,
    job: str,
    edges: Edges = "spawned",
    *,
    limit: int = 100,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Children:
    """The jobs one edge below a job, and how many there are below it in all. Raises NotFoundError."""
    with snapshot(connection):
        found = find_job(connection, namespace, job)
        asked = {"namespace": namespace, "job_id": found.job_id, "kinds": kinds_of(edges)}
        counts = read(connection, ChildCount, _QUERIES["children_states"], **asked)
        children = read(connection, Child, _QUERIES["children"], **asked, limit=limit)
        below = walk(connection, namespace, {found.job_id: 0}, DOWNSTREAM, edges, limit_jobs)
    return Children(found, namespace, edges, counts, children, len(below.levels) - 1, below.cut)


def get_ancestors(
    connection: psycopg.Connection,
    namespace: str,
    job: str,
    edges: Edges = "spawned",
    *,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Ancestors:
    """All jobs above one, cycles included once, farthest first. Raises NotFoundError."""
    with snapshot(connection):
        found = find_job(connection, namespace, job)
        above = walk_up(connection, namespace, found.job_id, edges, limit_jobs)
        ids = [job_id for job_id in above.levels if job_id != found.job_id]
        known = {
            row.job_id: row
            for row in read(connection, _Known, _QUERIES["jobs_by_id"], namespace=namespace, job_ids=ids)
        }
    nobody = _Known("", "", "", 0, None)
    ancestors = [Ancestor(job_id, above.levels[job_id], *known.get(job_id, nobody)[1:]) for job_id in ids]
    ancestors.sort(key=lambda ancestor: (-ancestor.distance, ancestor.worker, ancestor.job_id))
    return Ancestors(found, namespace, edges, ancestors, above.cut)


def _top(connection: psycopg.Connection, scope: Scope) -> Key | None:
    """The stage of the job asked about; None if only its children were heard of."""
    known = read(
        connection, Job, queries("answers_scope")["job"], namespace=scope.namespace, job_id=scope.root
    )
    if not known:
        return None
    return Key(scope.walked.get(scope.root, known[0].depth), known[0].worker)


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
    """The same tree, with the id where a line stands for one job."""
    children = tuple(_named(child, single) for child in node.children)
    job_id = single.get(Key(node.depth, node.worker)) if node.total == 1 else None
    return replace(node, job_id=job_id, children=children)


def _waiting(node: Node, waits: dict[Key, tuple[After, ...]], order: dict[Key, int]) -> Node:
    """The same tree, with the stages that each had to wait for, and siblings in the order that follows from it."""
    below = sorted(
        node.children, key=lambda child: (child.depth, order.get(Key(child.depth, child.worker), 0))
    )
    children = tuple(_waiting(child, waits, order) for child in below)
    after = waits.get(Key(node.depth, node.worker), ()) if node.main else ()
    return replace(node, after=after, children=children)
