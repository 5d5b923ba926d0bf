"""The stages of a run: how many jobs of each worker at each depth, in which states, how many were meant, and is it stuck.

Aggregated in the database, so a run of a million jobs is a few rows here.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, NamedTuple

import psycopg

from store.answers.reading import Row, read
from store.answers.scope import Scope
from store.answers.stuck import StageFacts, Stuck, StuckRule, judge
from store.queries import queries

# In the order people ask: what is done, what went wrong, what waits, what runs.
STATES = (
    "completed",
    "discarded",
    "cancelled",
    "retryable",
    "available",
    "scheduled",
    "suspended",
    "executing",
)
MAY_WAIT = frozenset({"available", "retryable", "suspended", "scheduled"})

# A stage's pace is read from so many of its newest jobs.
PACE_JOBS = 1_000

_QUERIES = queries("answers_lineage")


class Key(NamedTuple):
    """Names a stage of a run."""

    depth: int
    worker: str


@dataclass(frozen=True)
class Stage:
    """Jobs of one worker at one depth of a run; depth -1 where nobody knows it.

    ``expected``: how many the parents meant to spawn, None if nobody said. ``states``: only those that occur.
    """

    depth: int
    worker: str
    total: int
    expected: int | None
    states: dict[str, int]
    stuck: Stuck | None


class _StateCount(NamedTuple):
    depth: int
    worker: str
    state: str
    jobs: int


class _Expectation(NamedTuple):
    depth: int
    worker: str
    expected: int


class _Facts(NamedTuple):
    depth: int
    worker: str
    waiting: int
    oldest_waiting_at: datetime | None
    executing: int
    newest_execution_at: datetime | None
    last_movement_at: datetime | None
    longest_execution_seconds: float | None


class _Execution(NamedTuple):
    depth: int
    worker: str
    at: datetime


class _Waiting(NamedTuple):
    depth: int
    worker: str
    waiting: int
    oldest_waiting_at: datetime


class _Pace(NamedTuple):
    depth: int
    worker: str
    usual_gap_seconds: float | None
    usual_wait_seconds: float | None


def read_stages(connection: psycopg.Connection, scope: Scope, now: datetime, rule: StuckRule) -> list[Stage]:
    """All stages by depth and worker; one that was expected and of which no job was heard has a total of 0."""
    states: dict[Key, dict[str, int]] = {}
    for count in read(connection, _StateCount, _QUERIES["stage_states"], **scope.parameters()):
        states.setdefault(Key(count.depth, count.worker), {})[count.state] = count.jobs
    expected: dict[Key, int] = {}
    for row in read(connection, _Expectation, _QUERIES["stage_expectations"], **scope.parameters()):
        expected[Key(row.depth, row.worker)] = row.expected
        if row.expected > 0:
            states.setdefault(Key(row.depth, row.worker), {})
    stuck = _stuck_stages(connection, scope, states, now, rule)
    return [
        Stage(
            depth=key.depth,
            worker=key.worker,
            total=sum(counts.values()),
            expected=expected.get(key),
            states=in_order(counts),
            stuck=stuck.get(key),
        )
        for key, counts in sorted(states.items())
    ]


def in_order(counts: dict[str, int]) -> dict[str, int]:
    """Counts by state in the order of ``STATES``."""
    return {state: counts[state] for state in STATES if state in counts}


def _stuck_stages(
    connection: psycopg.Connection,
    scope: Scope,
    states: dict[Key, dict[str, int]],
    now: datetime,
    rule: StuckRule,
) -> dict[Key, Stuck]:
    """Judge the stages where jobs may wait, the cheapest question first: each further one can only acquit.

    A stage where a job executes since lately is acquitted by that alone, so of a run at work hardly a job is read.
    """
    at_work = _at_work(connection, scope, states, now, rule)
    candidates = [
        stage for stage, counts in states.items() if MAY_WAIT & counts.keys() and stage not in at_work
    ]
    facts = {
        Key(row.depth, row.worker): StageFacts(*row[2:])
        for row in _of_stages(connection, _Facts, "stage_facts", scope, candidates, now=now)
    }
    suspects = _stuck(facts, now, rule)
    # Which of them wait for others, rightly.
    waiting = {
        Key(row.depth, row.worker): row
        for row in _of_stages(connection, _Waiting, "stage_waiting", scope, list(suspects), now=now)
    }
    facts = {
        key: replace(
            facts[key], waiting=waiting[key].waiting, oldest_waiting_at=waiting[key].oldest_waiting_at
        )
        for key in suspects
        if key in waiting
    }
    suspects = _stuck(facts, now, rule)
    for row in _of_stages(connection, _Pace, "stage_pace", scope, list(suspects), newest=PACE_JOBS):
        key = Key(row.depth, row.worker)
        facts[key] = replace(
            facts[key], usual_gap_seconds=row.usual_gap_seconds, usual_wait_seconds=row.usual_wait_seconds
        )
    return _stuck({key: facts[key] for key in suspects}, now, rule)


def _at_work(
    connection: psycopg.Connection,
    scope: Scope,
    states: dict[Key, dict[str, int]],
    now: datetime,
    rule: StuckRule,
) -> set[Key]:
    """The stages where jobs may wait, and one executes that is not lost, however short the others of its kind were."""
    executing = [
        stage for stage, counts in states.items() if "executing" in counts and MAY_WAIT & counts.keys()
    ]
    newest = _of_stages(connection, _Execution, "newest_executions", scope, executing)
    return {
        Key(row.depth, row.worker)
        for row in newest
        if (now - row.at).total_seconds() <= rule.lost_floor_seconds
    }


def _stuck(facts: dict[Key, StageFacts], now: datetime, rule: StuckRule) -> dict[Key, Stuck]:
    verdicts = {stage: judge(known, now, rule) for stage, known in facts.items()}
    return {stage: verdict for stage, verdict in verdicts.items() if verdict is not None}


def _of_stages(
    connection: psycopg.Connection,
    row_type: type[Row],
    name: str,
    scope: Scope,
    stages: list[Key],
    **parameters: Any,
) -> list[Row]:
    """The rows of a query about these stages; without any it is not asked."""
    if not stages:
        return []
    return read(connection, row_type, _QUERIES[name], **scope.parameters(), **_columns(stages), **parameters)


def _columns(stages: list[Key]) -> dict[str, list[int] | list[str]]:
    return {"depths": [stage.depth for stage in stages], "workers": [stage.worker for stage in stages]}
