"""Finds expired runs, by reading the table `jobs` part by part.

A run is the jobs that name the same root, and the jobs below them that name none. It is expired when all of its jobs are.
The database's function `is_expired` decides that for one job: a job that has ended is expired when its last event is before
the horizon, an open job when its last event is before the horizon of open jobs.

Retention deletes the expired runs; a dry run counts them.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

import psycopg

from store.retention.session import QUERIES, Horizons

RunId = tuple[str, str]
"""Namespace, and the id of the root; for a job that names no root, its own id."""

_FIRST_PAGES: Final = 64
_MOST_PAGES: Final = 1_024
_LONG_SECONDS: Final = 0.1
_LOOKED_AT: Final = 2_000
"""Most ids in one query."""

_REMEMBERED: Final = 200_000
"""Most ids to remember as kept. Others are looked up again when they occur on later pages."""

_LARGE_JOBS: Final = 100
"""An expired run with this many jobs, or a living one with this many ids, is remembered: later pages may have more of it."""


class Pages(NamedTuple):
    """Pages of the table `jobs`, from ``first`` until ``end``."""

    first: int
    end: int

    def parameters(self) -> dict[str, str]:
        """Return the parameters of the queries."""
        return {"first": f"({self.first},0)", "end": f"({self.end},0)"}


class ExpiredRun(NamedTuple):
    """An expired run. It has several ids if jobs without a root belong to it, or if a root is a job of another run."""

    namespace: str
    run_ids: tuple[str, ...]
    jobs: int


class Found(NamedTuple):
    """The expired runs with jobs on some pages, and how many of their jobs are on these pages."""

    pages: Pages
    runs: list[ExpiredRun]
    jobs: int


def find_expired_runs(
    connection: psycopg.Connection, horizons: Horizons, rest: Callable[[float], None] = lambda _seconds: None
) -> Iterator[Found]:
    """Read the table `jobs` once, and yield the expired runs, some pages at a time.

    There is no index by age: it would change with every event. A run with jobs on later pages is yielded again. ``rest`` is
    called with the seconds that each part took. The session is in autocommit.
    """
    row = connection.execute(QUERIES["pages_of_jobs"]).fetchone()
    assert row is not None
    judge = _Judge(connection, horizons, rest)
    page, last, count = 0, row[0], _FIRST_PAGES
    while page < last:
        began = time.monotonic()
        pages = Pages(page, page + count)
        page = pages.end
        asked = {**pages.parameters(), **horizons.parameters()}
        rows = connection.execute(QUERIES["runs_of_old_jobs"], asked).fetchall()
        met = Counter({(namespace, run_id): jobs for namespace, run_id, jobs in rows})
        runs = judge.expired_runs(met)
        over = {(run.namespace, run_id) for run in runs for run_id in run.run_ids}
        took = time.monotonic() - began
        if runs:
            yield Found(pages, runs, sum(jobs for run, jobs in met.items() if run in over))
        rest(took)
        if took > _LONG_SECONDS:
            count = max(1, count // 2)
        elif took < _LONG_SECONDS / 4:
            count = min(2 * count, _MOST_PAGES)


def is_expired(connection: psycopg.Connection, run: ExpiredRun, horizons: Horizons) -> bool:
    """Return whether a run that was found to be expired still is: it may have got a job since then. The session is in autocommit."""
    judge = _Judge(connection, horizons)
    return bool(judge.expired_runs((run.namespace, run_id) for run_id in run.run_ids))


class _Judge:
    """Decides which runs are expired, and remembers answers that it would otherwise query again."""

    def __init__(
        self,
        connection: psycopg.Connection,
        horizons: Horizons,
        rest: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._connection = connection
        self._horizons = horizons
        self._rest = rest
        self._living: set[RunId] = set()
        self._expired: dict[RunId, ExpiredRun] = {}

    def expired_runs(self, met: Iterable[RunId]) -> list[ExpiredRun]:
        """Return the expired runs with these ids, each once."""
        ids = set(met)
        known = {run: self._expired[run] for run in ids if run in self._expired}
        unknown = {run for run in ids if run not in self._living and run not in known}
        found = list(dict.fromkeys(known.values()))
        together = _RunGroups(unknown)
        frontier = unknown
        while frontier:
            linked: set[RunId] = set()
            for run, lives, jobs, others in self._look(frontier):
                together.jobs[run] = jobs
                if lives or any(other in self._living for other in others):
                    together.mark_living(run)
                for other in others:
                    if together.join(run, other):
                        linked.add(other)
            frontier = {run for run in linked if not together.lives(run)}
        for members in together.groups():
            if together.lives(members[0]):
                if len(self._living) < _REMEMBERED or len(members) >= _LARGE_JOBS:
                    self._living.update(members)
                continue
            run_ids = tuple(run_id for _, run_id in members)
            over = ExpiredRun(members[0][0], run_ids, sum(together.jobs[member] for member in members))
            if over.jobs >= _LARGE_JOBS:
                self._expired.update(dict.fromkeys(members, over))
            found.append(over)
        return found

    def _look(self, runs: Iterable[RunId]) -> Iterator[tuple[RunId, bool, int, list[RunId]]]:
        """Yield for each id: whether a job of the run is not expired, the number of jobs, and the other ids of the run."""
        every = list(runs)
        for start in range(0, len(every), _LOOKED_AT):
            part = every[start : start + _LOOKED_AT]
            asked: dict[str, Any] = {
                "namespaces": [namespace for namespace, _ in part],
                "run_ids": [run_id for _, run_id in part],
                **self._horizons.parameters(),
            }
            with self._connection.transaction():
                self._connection.execute(QUERIES["prefer_indexes"])
                rows = self._connection.execute(QUERIES["look_at_runs"], asked).fetchall()
            self._rest(0)  # a long chain of jobs without roots takes a query each: a stop is noticed here
            for number, lives, jobs, linked in rows:
                run = part[number - 1]
                yield run, lives, jobs or 0, [(run[0], other) for other in linked or ()]


class _RunGroups:
    """Groups ids by run: a forest in which each tree is a run."""

    def __init__(self, runs: Iterable[RunId]) -> None:
        self._above: dict[RunId, RunId] = {run: run for run in runs}
        self._living: set[RunId] = set()
        """Tops of the trees with a job that is not expired."""
        self.jobs: Counter[RunId] = Counter()

    def join(self, run: RunId, other: RunId) -> bool:
        """Join the trees of both. Return whether ``other`` was unknown."""
        is_new = other not in self._above
        self._above.setdefault(other, other)
        top, other_top = self._top(run), self._top(other)
        if top != other_top:
            self._above[other_top] = top
            if other_top in self._living:
                self._living.add(top)
        return is_new

    def mark_living(self, run: RunId) -> None:
        """Remember that a job of this run is not expired."""
        self._living.add(self._top(run))

    def lives(self, run: RunId) -> bool:
        """Return whether a job of this run is known to be not expired."""
        return self._top(run) in self._living

    def groups(self) -> list[list[RunId]]:
        """Return the ids of each run."""
        groups: dict[RunId, list[RunId]] = {}
        for run in self._above:
            groups.setdefault(self._top(run), []).append(run)
        return list(groups.values())

    def _top(self, run: RunId) -> RunId:
        top = run
        while self._above[top] != top:
            top = self._above[top]
        while run != top:  # shortens the path for the next call
            self._above[run], run = top, self._above[run]
        return top
