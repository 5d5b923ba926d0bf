"""Lists the runs of one namespace or of all. A run is a root job and everything below it.

A job is a root when it names itself as the root, or when nothing above it is known (`Job.is_root`). A run is listed once
an event about its root is stored.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

import psycopg

from store.answers.judging import MAY_WAIT, Key, judge_run, read_states
from store.answers.names import require_namespace
from store.answers.reading import read, snapshot
from store.answers.reused_ids import ReusedId, count_reused_ids_of_runs, get_reused_ids
from store.answers.scope import Scope, has_unplaced_jobs, scope_of_run
from store.answers.verdicts import Name, StuckRule, worst
from store.queries import queries

LARGEST_RUN_READ: Final = 200_000
"""A larger run is not read job by job just to find when it last changed."""

LISTED_WALK_LIMIT: Final = 10_000
"""In a list, at most this many jobs of a run are searched for that do not say their root."""

_QUERIES = queries("answers_runs")

States = dict[Key, dict[str, int]]


class Run(NamedTuple):
    """A run: its root job, and the number of its jobs by state.

    ``waiting`` counts available, scheduled, suspended and retryable jobs. ``verdict`` is the worst of its stages; None
    if jobs are missing from the counts. Then ``cut_at`` is set: more jobs than that do not say their root.
    ``last_change_at`` is None for a run of more than ``LARGEST_RUN_READ`` jobs. ``reused_id`` is the evidence that the
    root's id was used again, or None; ``reused_ids`` counts such jobs of the run.
    """

    root: str
    namespace: str
    worker: str
    state: str
    source: str | None
    external_id: str | None
    started_at: datetime
    last_change_at: datetime | None
    total: int
    completed: int
    discarded: int
    cancelled: int
    waiting: int
    executing: int
    verdict: Name | None
    cut_at: int | None
    reused_id: ReusedId | None
    reused_ids: int


class _Root(NamedTuple):
    job_id: str
    namespace: str
    worker: str
    state: str
    source: str | None
    external_id: str | None
    occurred_at: datetime
    started_at: datetime
    is_placed: bool


class _StateCount(NamedTuple):
    namespace: str
    root: str
    depth: int
    worker: str
    state: str
    jobs: int


class _Change(NamedTuple):
    namespace: str
    root: str
    changed_at: datetime | None


class _ChangeOfRun(NamedTuple):
    changed_at: datetime | None


def get_runs(
    connection: psycopg.Connection,
    namespace: str | None = None,
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit: int = 20,
) -> list[Run]:
    """Return the runs of one namespace, or of all, those with the most recently changed root first.

    Raises NotFoundError when nothing is found because the namespace does not exist.
    """
    now = now or datetime.now(UTC)
    with snapshot(connection):
        roots = read(connection, _Root, _QUERIES["roots"], namespace=namespace, limit=limit)
        if not roots:
            require_namespace(connection, namespace)
        known = _known_runs(connection, roots)
        changes = _last_changes(
            connection,
            (root for root in roots if not known[root].is_walked and known[root].total <= LARGEST_RUN_READ),
        )
        keys = [(root.namespace, root.job_id) for root in roots]
        reused = get_reused_ids(connection, keys)
        counted = count_reused_ids_of_runs(connection, keys)
        runs = [_run(connection, root, known[root], changes, now, rule) for root in roots]
    return [
        run._replace(
            reused_id=reused.get((run.namespace, run.root)),
            # A root that does not name itself is not counted among the jobs that name it.
            reused_ids=max(
                counted.get((run.namespace, run.root), 0), int((run.namespace, run.root) in reused)
            ),
        )
        for run in runs
    ]


class _Known(NamedTuple):
    scope: Scope
    states: States

    @property
    def total(self) -> int:
        return sum(sum(counts.values()) for counts in self.states.values())

    @property
    def is_walked(self) -> bool:
        """Whether its last change must be read job by job, because not all of its jobs name the root."""
        return bool(self.scope.walked)


def _known_runs(connection: psycopg.Connection, roots: list[_Root]) -> dict[_Root, _Known]:
    """Return the jobs of each run by stage and state. Runs whose jobs all say their place take one query together."""
    states: dict[tuple[str, str], States] = {}
    for row in read(connection, _StateCount, _QUERIES["states_of_runs"], **_columns(roots)):
        stages = states.setdefault((row.namespace, row.root), {})
        stages.setdefault(Key(row.depth, row.worker), {})[row.state] = row.jobs
    unplaced = {name: has_unplaced_jobs(connection, name) for name in {root.namespace for root in roots}}
    known = {}
    for root in roots:
        stages = states.get((root.namespace, root.job_id), {})
        scope = Scope(root.namespace, root.job_id, root.job_id, {}, None, root.job_id)
        if unplaced[root.namespace] or any(key.depth < 0 for key in stages):
            scope = scope_of_run(connection, root.namespace, root.job_id, LISTED_WALK_LIMIT)
            stages = read_states(connection, scope)
        elif not root.is_placed:
            scope = Scope(root.namespace, root.job_id, root.job_id, {root.job_id: 0}, None, root.job_id)
            stages = read_states(connection, scope) if stages else {Key(0, root.worker): {root.state: 1}}
        known[root] = _Known(scope, stages)
    return known


def _last_changes(
    connection: psycopg.Connection, roots: Iterable[_Root]
) -> dict[tuple[str, str], datetime | None]:
    rows = read(connection, _Change, _QUERIES["last_changes"], **_columns(list(roots)))
    return {(row.namespace, row.root): row.changed_at for row in rows}


def _run(
    connection: psycopg.Connection,
    root: _Root,
    known: _Known,
    changes: Mapping[tuple[str, str], datetime | None],
    now: datetime,
    rule: StuckRule,
) -> Run:
    scope, states = known
    last_change_at = changes.get((root.namespace, root.job_id))
    if known.is_walked and known.total == 1:
        last_change_at = root.occurred_at
    elif known.is_walked and known.total <= LARGEST_RUN_READ:
        query = queries("answers_lineage")["last_change"]
        last_change_at = read(connection, _ChangeOfRun, query, **scope.parameters())[0].changed_at
    verdict = None
    if scope.cut_at is None:
        judged = judge_run(connection, scope, states, now, rule)
        verdict = worst({one.name for one in judged.verdicts.values()})
    return Run(
        root=root.job_id,
        namespace=root.namespace,
        worker=root.worker,
        state=root.state,
        source=root.source,
        external_id=root.external_id,
        started_at=root.started_at,
        last_change_at=last_change_at,
        total=known.total,
        completed=_count(states, {"completed"}),
        discarded=_count(states, {"discarded"}),
        cancelled=_count(states, {"cancelled"}),
        waiting=_count(states, MAY_WAIT),
        executing=_count(states, {"executing"}),
        verdict=verdict,
        cut_at=scope.cut_at,
        reused_id=None,
        reused_ids=0,
    )


def _count(states: States, of_states: Iterable[str]) -> int:
    return sum(counts.get(state, 0) for counts in states.values() for state in of_states)


def _columns(roots: list[_Root]) -> dict[str, list[str]]:
    return {"namespaces": [root.namespace for root in roots], "roots": [root.job_id for root in roots]}
