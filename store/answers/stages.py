"""The stages of a run: jobs of each worker at each depth by state, how many were announced, and the verdict.

Aggregated in the database, so a run of a million jobs is a few rows here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg

from store.answers.judging import Key, judge_stages, read_states
from store.answers.reading import read
from store.answers.reused_ids import count_reused_ids_of_stages
from store.answers.scope import Scope
from store.answers.verdicts import Lost, Name, Stuck, StuckRule, Verdict
from store.queries import queries

# In the order of interest: what is done, what went wrong, what waits, what runs.
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

_QUERIES = queries("answers_lineage")


@dataclass(frozen=True)
class Stage:
    """Jobs of one worker at one depth of a run; depth -1 if not known.

    ``expected``: how many the parents announced, None if none did. ``spawned``: how many jobs of this stage those parents
    spawned; None if it need not differ from ``expected``. ``states``: only those that occur. ``verdict``: None for a stage
    without a job, and if jobs may be missing because a walk was cut. ``reused_ids``: how many jobs have an id that was used
    again.
    """

    depth: int
    worker: str
    total: int
    expected: int | None
    states: dict[str, int]
    verdict: Verdict | None
    spawned: int | None = None
    reused_ids: int = 0

    @property
    def name(self) -> Name | None:
        """The verdict's name."""
        return None if self.verdict is None else self.verdict.name

    @property
    def stuck(self) -> Stuck | None:
        """Why and since when it is stuck; None if it is not."""
        return None if self.verdict is None else self.verdict.stuck

    @property
    def lost(self) -> Lost | None:
        """Its lost jobs; None if it has none."""
        return None if self.verdict is None else self.verdict.lost


class _Expectation(NamedTuple):
    depth: int
    worker: str
    expected: int
    open_parents: int


class _Spawned(NamedTuple):
    depth: int
    worker: str
    spawned: int


def read_stages(
    connection: psycopg.Connection, scope: Scope, now: datetime, rule: StuckRule, limit_jobs: int
) -> list[Stage]:
    """Return all stages by depth and worker. An announced stage without a job has a total of 0."""
    states = read_states(connection, scope)
    announced = {
        Key(row.depth, row.worker): row
        for row in read(connection, _Expectation, _QUERIES["stage_expectations"], **scope.parameters())
    }
    verdicts = judge_stages(connection, scope, states, now, rule, limit_jobs)
    for key, row in announced.items():
        if row.expected > 0:
            states.setdefault(key, {})
    spawned = _spawned(connection, scope, states, announced)
    reused = count_reused_ids_of_stages(connection, scope)
    return [
        Stage(
            depth=key.depth,
            worker=key.worker,
            total=sum(counts.values()),
            expected=announced[key].expected if key in announced else None,
            states=in_order(counts),
            verdict=verdicts.get(key),
            spawned=spawned.get(key),
            reused_ids=reused.get(key, 0),
        )
        for key, counts in sorted(states.items())
    ]


def in_order(counts: Mapping[str, int]) -> dict[str, int]:
    """Return counts by state in the order of ``STATES``."""
    return {state: counts[state] for state in STATES if state in counts}


def _spawned(
    connection: psycopg.Connection,
    scope: Scope,
    states: Mapping[Key, Mapping[str, int]],
    announced: Mapping[Key, _Expectation],
) -> dict[Key, int]:
    """Return how many jobs the announcing parents spawned, for each stage whose total differs from the announced number.

    If one of the parents is not over, it may still spawn the rest, so too few jobs are not a difference. A cut walk may have
    missed jobs, so then there are no differences.
    """
    if scope.cut_at is not None:
        return {}
    differ = []
    for key, row in announced.items():
        total = sum(states.get(key, {}).values())
        if total > row.expected or (total < row.expected and not row.open_parents):
            differ.append(key)
    if not differ:
        return {}
    columns = {"depths": [key.depth for key in differ], "workers": [key.worker for key in differ]}
    rows = read(connection, _Spawned, _QUERIES["stage_spawned"], **scope.parameters(), **columns)
    counted = dict.fromkeys(differ, 0) | {Key(row.depth, row.worker): row.spawned for row in rows}
    # A parent that is not over may still spawn the rest.
    return {
        key: count
        for key, count in counted.items()
        if count > announced[key].expected or not announced[key].open_parents
    }
