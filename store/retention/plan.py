"""Counts what retention would delete, and deletes nothing."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg

from store.partitions import expired_days
from store.retention.run import RetentionState, read_state
from store.retention.runs import find_expired_runs
from store.retention.session import QUERIES, Horizons, start_of


class DayPlan(NamedTuple):
    """A partition to be dropped."""

    name: str
    day: date
    attempts: int
    """An estimate from the database's statistics; counted if they have none."""
    bytes: int


class Plan(NamedTuple):
    """What would be deleted, in exact numbers of rows unless a field says otherwise."""

    keep_days: int
    keep_open_days: int
    horizon: date | None
    """The horizon now. None: nothing has been deleted yet."""
    wanted: date | None
    """The horizon after a run. None: nothing is to be deleted."""
    open_horizon: date | None
    """The horizon of open jobs now. None: no open job has been deleted yet."""
    open_wanted: date | None
    """The horizon of open jobs after a run. None: they are kept for ever."""
    days: list[DayPlan]
    attempts_without_partition: int
    jobs: int
    jobs_kept: int
    """Jobs older than the horizon that stay: they are open, or another job of their run is open or newer."""
    edges: int
    dead_letters: int
    failure_groups: int
    """Groups with no failure left."""
    failure_groups_changed: int
    """Groups with fewer failures than now."""
    failure_group_hours: int
    outcome_hours: int

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return (self.wanted, self.open_wanted) == (self.horizon, self.open_horizon) and not (
            self.days or self.attempts_without_partition or self.jobs or self.dead_letters
        )


def plan(connection: psycopg.Connection, keep_days: int, keep_open_days: int) -> Plan:
    """Count what `retain` would delete, by the same rules. The session is in autocommit.

    Reads the whole table `jobs`, and looks up every run with old jobs.
    """
    now = read_state(connection)
    wanted = now.wanted(keep_days, keep_open_days)
    if wanted is None:
        return _nothing(keep_days, keep_open_days, now, jobs_kept=0)
    before = {"before": start_of(wanted.horizon)}
    if now.is_at(wanted) and now.is_cleared(wanted):
        # `retain` does nothing before the horizon advances again, even if late events have ended jobs since.
        return _nothing(
            keep_days, keep_open_days, now, jobs_kept=_row(connection, "count_old_jobs", before)[0]
        )
    days = [_day(connection, day, name) for day, name in expired_days(connection, wanted.horizon)]
    strays = _row(connection, "count_stray_attempts", before)[0]
    jobs, edges = count_expired_runs(connection, wanted)
    old_jobs = _row(connection, "count_old_jobs", before)[0]
    gone, changed, group_hours, outcome_hours, letters = _row(connection, "count_old_sums", before)
    return Plan(
        keep_days=keep_days,
        keep_open_days=keep_open_days,
        horizon=now.horizon,
        wanted=wanted.horizon,
        open_horizon=now.open_horizon,
        open_wanted=wanted.open_horizon,
        days=days,
        attempts_without_partition=strays,
        jobs=jobs,
        jobs_kept=max(old_jobs - jobs, 0),
        edges=edges,
        dead_letters=letters,
        failure_groups=gone,
        failure_groups_changed=changed,
        failure_group_hours=group_hours,
        outcome_hours=outcome_hours,
    )


def count_expired_runs(connection: psycopg.Connection, horizons: Horizons) -> tuple[int, int]:
    """Count the jobs of the runs expired by these horizons, and the edges that lead to them."""
    jobs = edges = 0
    for found in find_expired_runs(connection, horizons):
        removed = [(run.namespace, run_id) for run in found.runs for run_id in run.run_ids]
        asked = {
            **found.pages.parameters(),
            **horizons.parameters(),
            "namespaces": [namespace for namespace, _ in removed],
            "run_ids": [run_id for _, run_id in removed],
        }
        jobs += found.jobs
        edges += _row(connection, "count_edges", asked)[0]
    return jobs, edges


def _nothing(keep_days: int, keep_open_days: int, now: RetentionState, jobs_kept: int) -> Plan:
    """Return the plan of a run that would leave the horizons and all rows as they are."""
    return Plan(
        keep_days=keep_days,
        keep_open_days=keep_open_days,
        horizon=now.horizon,
        wanted=now.horizon,
        open_horizon=now.open_horizon,
        open_wanted=now.open_horizon,
        days=[],
        attempts_without_partition=0,
        jobs=0,
        jobs_kept=jobs_kept,
        edges=0,
        dead_letters=0,
        failure_groups=0,
        failure_groups_changed=0,
        failure_group_hours=0,
        outcome_hours=0,
    )


def _day(connection: psycopg.Connection, day: date, name: str) -> DayPlan:
    rows, size = _row(connection, "partition_sizes", {"name": name})
    if rows is None:
        bounds = {"first": start_of(day), "before": start_of(day) + timedelta(days=1)}
        rows = _row(connection, "count_attempts_of_day", bounds)[0]
    return DayPlan(name, day, rows, size)


def _row(connection: psycopg.Connection, query: str, asked: Mapping[str, object]) -> tuple[Any, ...]:
    row = connection.execute(QUERIES[query], asked).fetchone()
    assert row is not None
    return row
