"""Finds what a run lacks: children that were announced but not spawned, and jobs without children such as their siblings'.

In the second case nothing was announced, so a difference alone is not enough for a warning. There is one where

* at least three quarters of the siblings spawned such a child, and
* the publisher reports these jobs as soon as they wait (one of them waits now), or the run is at rest: no job waits or
  executes, and none changed within the floor of "stuck". Else the child may already exist, and start later.

Siblings are the jobs of one stage whose parents have the same worker. Where at most one child of each parent spawned such a
job, as in a chord, the children of one parent are counted together, once all of them have completed. A recursion (both
workers occur at several depths) ends at some depth, so it is left out.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Literal, NamedTuple

import psycopg

from store.answers.judging import MAY_WAIT, Key, read_states
from store.answers.reading import read, snapshot
from store.answers.scope import DEFAULT_WALK_LIMIT, Scope, find_scope
from store.answers.verdicts import StuckRule
from store.queries import queries

_QUERIES = queries("answers_gaps")

_TELLING: Final = 3
"""Siblings with such a child, for each one without: a warning needs at least this ratio."""

_REPORTED_WAITING: Final = frozenset({"available", "scheduled", "suspended"})

WhyNot = Literal["", "siblings", "at_work"]


class MissingChildren(NamedTuple):
    """A job that spawned more children of a worker than it announced, or is over and spawned fewer."""

    job_id: str
    depth: int
    worker: str
    state: str
    external_id: str | None
    child_worker: str
    expected: int
    spawned: int

    @property
    def missing(self) -> int:
        """Announced minus spawned; negative if too many were spawned."""
        return self.expected - self.spawned


class Announced(NamedTuple):
    """Jobs of a stage that announced children of a worker, and how many of these they spawned.

    ``job_id`` is the lowest id of these jobs.
    """

    job_id: str
    depth: int
    worker: str
    child_worker: str
    jobs: int
    expected: int
    spawned: int


class Childless(NamedTuple):
    """Completed jobs of a stage (``without``) that spawned no ``child_worker``, as ``with_some`` of their siblings did.

    With ``of_parents``, they are the parents: none of their children spawned one, while one child of each other parent did.
    ``job_ids`` names them, up to the limit. ``why_not`` is the reason why this is not a warning; it is empty for a warning.
    """

    depth: int
    worker: str
    child_worker: str
    without: int
    with_some: int
    job_ids: list[str]
    of_parents: bool
    why_not: WhyNot


@dataclass(frozen=True)
class Gaps:
    """The gaps of a run, and the announcements that were kept (``kept``) or may still be (``pending``).

    Each list has entries up to the limit; the totals count all: pairs of job and worker for ``missing``, stages for the
    others. ``cut_at``: the limit of jobs that ended the walk; then there may be other gaps, and ``childless`` is empty.
    """

    root: str
    namespace: str
    missing: list[MissingChildren]
    missing_total: int
    childless: list[Childless]
    childless_total: int
    kept: list[Announced]
    kept_total: int
    pending: list[Announced]
    pending_total: int
    cut_at: int | None

    @property
    def none(self) -> bool:
        """Whether no gap was found. If the walk was cut, the rest of the run is not known."""
        return not self.missing and not any(group.why_not == "" for group in self.childless)


class _Announced(NamedTuple):
    kind: Literal["missing", "kept", "pending"]
    job_id: str
    depth: int
    worker: str
    state: str
    external_id: str | None
    child_worker: str
    expected: int
    spawned: int
    jobs: int
    rows: int


class _Childless(NamedTuple):
    of_parents: bool
    depth: int
    worker: str
    child_worker: str
    with_some: int
    without: int
    job_ids: list[str]
    rows: int


class _Change(NamedTuple):
    changed_at: datetime | None


def get_gaps(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    *,
    now: datetime | None = None,
    rule: StuckRule = StuckRule(),  # noqa: B008 - frozen, and the documented default
    limit: int = 20,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Gaps:
    """Return the gaps of a run, the largest first. Raises NotFoundError."""
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        announced = read(
            connection, _Announced, _QUERIES["announced_children"], **scope.parameters(), limit=limit
        )
        childless: list[_Childless] = []
        reported: set[str] = set()
        at_rest = False
        if scope.cut_at is None:
            childless = read(connection, _Childless, _QUERIES["childless"], **scope.parameters(), limit=limit)
        if childless:
            states = read_states(connection, scope)
            reported = {key.worker for key, counts in states.items() if _REPORTED_WAITING & counts.keys()}
            at_rest = _is_at_rest(connection, scope, states, now or datetime.now(UTC), rule)
    missing = [row for row in announced if row.kind == "missing"]
    kept = [row for row in announced if row.kind == "kept"]
    pending = [row for row in announced if row.kind == "pending"]
    return Gaps(
        root=scope.root,
        namespace=namespace,
        missing=[MissingChildren(*row[1:9]) for row in missing],
        missing_total=missing[0].rows if missing else 0,
        childless=[_judged(row, at_rest or row.child_worker in reported) for row in childless],
        childless_total=childless[0].rows if childless else 0,
        kept=[_announced(row) for row in kept],
        kept_total=kept[0].rows if kept else 0,
        pending=[_announced(row) for row in pending],
        pending_total=pending[0].rows if pending else 0,
        cut_at=scope.cut_at,
    )


def _judged(row: _Childless, known: bool) -> Childless:
    why_not: WhyNot = ""
    if row.with_some < _TELLING * row.without:
        why_not = "siblings"
    elif not known:
        why_not = "at_work"
    return Childless(
        depth=row.depth,
        worker=row.worker,
        child_worker=row.child_worker,
        without=row.without,
        with_some=row.with_some,
        job_ids=row.job_ids,
        of_parents=row.of_parents,
        why_not=why_not,
    )


def _announced(row: _Announced) -> Announced:
    return Announced(row.job_id, row.depth, row.worker, row.child_worker, row.jobs, row.expected, row.spawned)


def _is_at_rest(
    connection: psycopg.Connection,
    scope: Scope,
    states: dict[Key, dict[str, int]],
    now: datetime,
    rule: StuckRule,
) -> bool:
    """Return whether no job waits or executes, and none changed within the floor of "stuck"."""
    if any("executing" in counts or MAY_WAIT & counts.keys() for counts in states.values()):
        return False
    query = queries("answers_lineage")["last_change"]
    changed_at = read(connection, _Change, query, **scope.parameters())[0].changed_at
    return changed_at is None or changed_at < now - timedelta(seconds=rule.floor_seconds)
