"""What a run of retention would remove, without removing anything."""

from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, NamedTuple

import psycopg

from store.partitions import expired_days
from store.retention.run import standing
from store.retention.session import QUERIES, start_of


class DayPlan(NamedTuple):
    """A partition that would be dropped."""

    name: str
    day: date
    attempts: int
    """About: as the database's statistics know it, counted where they do not."""
    bytes: int


class Plan(NamedTuple):
    """What would go. Rows are counted, unless it says about."""

    keep_days: int
    horizon: date | None
    """Where it is. None: nothing has been given up yet."""
    wanted: date | None
    """Where it would be. None: nothing is to be given up."""
    days: list[DayPlan]
    attempts_without_partition: int
    jobs: int
    edges: int
    """About: as many of the edges as of the jobs."""
    dead_letters: int
    failure_groups: int
    """Groups of which nothing would be left."""
    failure_groups_changed: int
    """Groups that would count less."""
    failure_group_hours: int
    outcome_hours: int

    @property
    def is_empty(self) -> bool:
        """Would nothing change?"""
        return self.wanted == self.horizon and not (
            self.days or self.attempts_without_partition or self.jobs or self.dead_letters
        )


def plan(connection: psycopg.Connection, keep_days: int) -> Plan:
    """Count what `retain` would remove. Reads the whole of `jobs`: seconds, where there are millions. In autocommit."""
    now = standing(connection)
    wanted = now.wanted(keep_days) if keep_days else None
    if wanted is None:
        return Plan(keep_days, now.horizon, now.horizon, [], 0, 0, 0, 0, 0, 0, 0, 0)
    before = {"before": start_of(wanted)}
    days = [_day(connection, day, name) for day, name in expired_days(connection, wanted)]
    strays = _row(connection, "count_stray_attempts", before)[0]
    old_jobs, all_jobs = _row(connection, "count_old_jobs", before)
    edges = _row(connection, "estimate_edges", {})[0]
    gone, changed, group_hours, outcome_hours, letters = _row(connection, "count_old_sums", before)
    return Plan(
        keep_days=keep_days,
        horizon=now.horizon,
        wanted=wanted,
        days=days,
        attempts_without_partition=strays,
        jobs=old_jobs,
        edges=round(edges * old_jobs / all_jobs) if all_jobs else 0,
        dead_letters=letters,
        failure_groups=gone,
        failure_groups_changed=changed,
        failure_group_hours=group_hours,
        outcome_hours=outcome_hours,
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
