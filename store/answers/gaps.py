"""What a run lacks: children that were announced and never came, and jobs without the children their siblings have."""

from dataclasses import dataclass
from typing import NamedTuple

import psycopg

from store.answers.reading import read, snapshot
from store.answers.scope import DEFAULT_WALK_LIMIT, find_scope
from store.queries import queries

_QUERIES = queries("answers_gaps")


class MissingChildren(NamedTuple):
    """A job that spawned fewer children of a worker than it said it would; more, if ``missing`` is negative."""

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
        """Expected less spawned."""
        return self.expected - self.spawned


class KeptWord(NamedTuple):
    """Jobs of a stage that spawned just as many children of a worker as they said. ``job_id`` is the least of them."""

    job_id: str
    depth: int
    worker: str
    child_worker: str
    jobs: int
    spawned: int


class BarrenJobs(NamedTuple):
    """Completed jobs of a stage (``without``) that spawned no ``child_worker``, as ``with_some`` of their siblings did.

    ``job_ids`` names them, up to the limit.
    """

    depth: int
    worker: str
    child_worker: str
    without: int
    with_some: int
    job_ids: list[str]


@dataclass(frozen=True)
class Gaps:
    """Both kinds of gap of a run, and what is as it was announced (``kept``).

    ``missing_total`` counts the first kind, of which ``missing`` holds up to the limit.
    """

    root: str
    namespace: str
    missing: list[MissingChildren]
    missing_total: int
    barren: list[BarrenJobs]
    kept: list[KeptWord]
    cut: bool

    @property
    def none(self) -> bool:
        """Whether the run has no gap."""
        return not self.missing and not self.barren


class _Announced(NamedTuple):
    job_id: str
    depth: int
    worker: str
    state: str
    external_id: str | None
    child_worker: str
    expected: int
    spawned: int
    jobs: int


def get_gaps(
    connection: psycopg.Connection,
    namespace: str,
    root: str,
    *,
    limit: int = 20,
    limit_jobs: int = DEFAULT_WALK_LIMIT,
) -> Gaps:
    """The gaps of a run, the widest first. Raises NotFoundError."""
    with snapshot(connection):
        scope = find_scope(connection, namespace, root, limit_jobs)
        announced = read(
            connection, _Announced, _QUERIES["announced_children"], **scope.parameters(), limit=limit
        )
        barren = read(connection, BarrenJobs, _QUERIES["barren_jobs"], **scope.parameters(), limit=limit)
    missing = [row for row in announced if row.spawned != row.expected]
    return Gaps(
        root=scope.root,
        namespace=namespace,
        missing=[MissingChildren(*row[:-1]) for row in missing],
        missing_total=missing[0].jobs if missing else 0,
        barren=barren,
        kept=[
            KeptWord(row.job_id, row.depth, row.worker, row.child_worker, row.jobs, row.spawned)
            for row in announced
            if row.spawned == row.expected
        ],
        cut=scope.cut,
    )
