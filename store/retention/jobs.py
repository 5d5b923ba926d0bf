"""Deletes expired runs, with all their jobs and the edges that lead to them; and old dead letters.

A run is deleted in one transaction, unless it has more jobs than a transaction may have rows. A larger one is deleted in
pieces; before the first piece it is decided once whether the run is expired.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg

from store.retention.runs import ExpiredRun, find_expired_runs, is_expired
from store.retention.session import QUERIES, Horizons, Session


@dataclass
class RemovedJobs:
    """How many rows were deleted."""

    jobs: int = 0
    edges: int = 0
    dead_letters: int = 0


def remove_jobs(session: Session, horizons: Horizons, removed: RemovedJobs) -> None:
    """Delete the jobs and edges of every expired run.

    A run that is being written to is left alone as a whole, because it has new events. ``removed`` is kept up to date. Raises
    the same as `Session.transaction`.
    """
    for found in find_expired_runs(session.connection, horizons, session.pace.rest):
        large = [run for run in found.runs if run.jobs > session.batch_rows]
        small = [run for run in found.runs if run.jobs <= session.batch_rows]
        for runs in _batches(small, session.batch_rows):
            _count(
                removed,
                session.transaction("remove runs", partial(_remove_runs, runs=runs, horizons=horizons)),
            )
        for run in large:
            _remove_in_pieces(session, run, horizons, removed)


def _remove_in_pieces(session: Session, run: ExpiredRun, horizons: Horizons, removed: RemovedJobs) -> None:
    if not is_expired(session.connection, run, horizons):
        return
    most = session.batch_rows
    for start in range(0, len(run.run_ids), most):
        part = run._replace(run_ids=run.run_ids[start : start + most])
        jobs = 1
        while jobs:
            piece = partial(_remove_piece, run=part, horizons=horizons, most=most)
            jobs, edges = session.transaction("remove a piece of a run", piece)
            _count(removed, (jobs, edges))


def remove_dead_letters(session: Session, horizons: Horizons, removed: RemovedJobs) -> None:
    """Delete dead letters that were published before the horizon. Raises the same as `Session.transaction`."""
    asked = {"horizon": horizons.parameters()["horizon"], "most": session.batch_rows}
    while True:
        rows = session.transaction(
            "remove dead letters",
            lambda connection: connection.execute(QUERIES["remove_dead_letters"], asked).rowcount,
        )
        removed.dead_letters += rows
        if rows < session.batch_rows:
            return


def _count(removed: RemovedJobs, rows: tuple[int, int]) -> None:
    removed.jobs += rows[0]
    removed.edges += rows[1]


def _batches(runs: Iterable[ExpiredRun], most_jobs: int) -> Iterator[list[ExpiredRun]]:
    """Group runs into batches of at most ``most_jobs`` jobs; a batch has at least one run."""
    together: list[ExpiredRun] = []
    jobs = 0
    for run in runs:
        if together and jobs + run.jobs > most_jobs:
            yield together
            together, jobs = [], 0
        together.append(run)
        jobs += run.jobs
    if together:
        yield together


def _remove_runs(
    connection: psycopg.Connection, runs: list[ExpiredRun], horizons: Horizons
) -> tuple[int, int]:
    """Delete whole runs, but not those that are being written to, or have a new job. Return how many jobs and edges were deleted."""
    asked = _asked(runs, horizons)
    _lock(connection, asked, sum(run.jobs for run in runs) + 1)
    had = {"numbers": list(range(len(runs))), "jobs": [run.jobs for run in runs]}
    connection.execute(QUERIES["leave_touched_runs"], had)
    living = _with_living_jobs(connection, asked)
    if living:
        connection.execute(QUERIES["leave_runs"], {"numbers": living})
    return _remove_locked(connection)


def _remove_piece(
    connection: psycopg.Connection, run: ExpiredRun, horizons: Horizons, most: int
) -> tuple[int, int]:
    """Delete some jobs of a part of an expired run. Return how many jobs and edges; no jobs: the part is done."""
    _lock(connection, _asked([run], horizons), most)
    return _remove_locked(connection)


def _asked(runs: list[ExpiredRun], horizons: Horizons) -> dict[str, Any]:
    """Return the parameters that name these runs, each id with the number of its run."""
    numbered = [(number, run.namespace, run_id) for number, run in enumerate(runs) for run_id in run.run_ids]
    return {
        "run_numbers": [number for number, _, _ in numbered],
        "namespaces": [namespace for _, namespace, _ in numbered],
        "run_ids": [run_id for _, _, run_id in numbered],
        **horizons.parameters(),
    }


def _lock(connection: psycopg.Connection, asked: dict[str, Any], most: int) -> None:
    """Lock at most ``most`` jobs that name these runs, and the jobs with these ids that name no root, for deletion."""
    connection.execute(QUERIES["prefer_indexes"])
    connection.execute(QUERIES["lock_placed_jobs"], {**asked, "most": most})
    connection.execute(QUERIES["lock_unplaced_jobs"], asked)


def _with_living_jobs(connection: psycopg.Connection, asked: dict[str, Any]) -> list[int]:
    """Return the numbers of the runs that have got a living job by now."""
    return [number for (number,) in connection.execute(QUERIES["runs_with_living_jobs"], asked).fetchall()]


def _remove_locked(connection: psycopg.Connection) -> tuple[int, int]:
    jobs = connection.execute(QUERIES["remove_jobs"]).rowcount
    edges = connection.execute(QUERIES["remove_edges"]).rowcount if jobs else 0
    return jobs, edges
