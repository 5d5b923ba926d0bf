"""The stages of a run: how many jobs of each worker at each depth, in which states, how many were meant, and is it stuck.

Aggregated in the database, so a run of a million jobs is a few rows here.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

import psycopg

from store.answers.reading import read
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
    """Judge the stages where jobs may wait; only of those that look stuck by the floors alone is the pace read."""
    candidates = [stage for stage, counts in states.items() if MAY_WAIT & counts.keys()]
    if not candidates:
        return {}
    found = read(
        connection, _Facts, _QUERIES["stage_facts"], **scope.parameters(), **_columns(candidates), now=now
    )
    facts = {Key(row.depth, row.worker): StageFacts(*row[2:]) for row in found}
    suspects = [stage for stage, known in facts.items() if judge(known, now, rule) is not None]
    if not suspects:
        return {}
    paces = read(
        connection,
        _Pace,
        _QUERIES["stage_pace"],
        **scope.parameters(),
        **_columns(suspects),
        newest=PACE_JOBS,
    )
    for row in paces:
        key = Key(row.depth, row.worker)
        facts[key] = replace(
            facts[key], usual_gap_seconds=row.usual_gap_seconds, usual_wait_seconds=row.usual_wait_seconds
        )
    verdicts = {stage: judge(facts[stage], now, rule) for stage in suspects}
    return {stage: verdict for stage, verdict in verdicts.items() if verdict is not None}


def _columns(stages: list[Key]) -> dict[str, list[int] | list[str]]:
    return {"depths": [stage.depth for stage in stages], "workers": [stage.worker for stage in stages]}
