"""The stages of a run: how many jobs of each worker at each depth, in which states, how many were meant, and is it stuck.

Aggregated in the database, so a run of a million jobs is a few rows here.
"""

from dataclasses import dataclass
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

_QUERIES = queries("answers_lineage")


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
    usual_gap_seconds: float | None
    usual_wait_seconds: float | None
    longest_execution_seconds: float | None


def read_stages(connection: psycopg.Connection, scope: Scope, now: datetime, rule: StuckRule) -> list[Stage]:
    """All stages by depth and worker; one that was expected and of which no job was heard has a total of 0."""
    states: dict[tuple[int, str], dict[str, int]] = {}
    for count in read(connection, _StateCount, _QUERIES["stage_states"], **scope.parameters()):
        states.setdefault((count.depth, count.worker), {})[count.state] = count.jobs
    expected: dict[tuple[int, str], int] = {}
    for row in read(connection, _Expectation, _QUERIES["stage_expectations"], **scope.parameters()):
        expected[row.depth, row.worker] = row.expected
        if row.expected > 0:
            states.setdefault((row.depth, row.worker), {})
    stuck = _stuck_stages(connection, scope, states, now, rule)
    return [
        Stage(
            depth=depth,
            worker=worker,
            total=sum(counts.values()),
            expected=expected.get((depth, worker)),
            states=in_order(counts),
            stuck=stuck.get((depth, worker)),
        )
        for (depth, worker), counts in sorted(states.items())
    ]


def in_order(counts: dict[str, int]) -> dict[str, int]:
    """Counts by state in the order of ``STATES``."""
    return {state: counts[state] for state in STATES if state in counts}


def _stuck_stages(
    connection: psycopg.Connection,
    scope: Scope,
    states: dict[tuple[int, str], dict[str, int]],
    now: datetime,
    rule: StuckRule,
) -> dict[tuple[int, str], Stuck]:
    candidates = [stage for stage, counts in states.items() if MAY_WAIT & counts.keys()]
    if not candidates:
        return {}
    found = read(
        connection,
        _Facts,
        _QUERIES["stage_facts"],
        **scope.parameters(),
        depths=[depth for depth, _ in candidates],
        workers=[worker for _, worker in candidates],
        now=now,
    )
    verdicts = {(row.depth, row.worker): judge(StageFacts(*row[2:]), now, rule) for row in found}
    return {stage: verdict for stage, verdict in verdicts.items() if verdict is not None}
