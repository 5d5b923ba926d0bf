"""Reads what the verdicts need, with the cheapest query first, and judges the stages of a run.

A stage is judged as a whole, even when the question is about a part of the run. So every answer gives a stage, and a job,
the same verdict. In a run at work few jobs are read: a stage in which no job has been executing for longer than the floor
of "lost", and one is executing, is at work.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import psycopg

from store.answers.reading import Row, read
from store.answers.scope import Scope, read_job, whole_run
from store.answers.verdicts import (
    ENOUGH_COMPLETED,
    Kind,
    Lost,
    StageFacts,
    StuckRule,
    Verdict,
    describe_lost,
    find_stuck,
    judge,
    longest_allowed_seconds,
)
from store.queries import queries

MAY_WAIT: Final = frozenset({"available", "retryable", "suspended", "scheduled"})

PACE_JOBS: Final = 1_000
"""A stage's pace is computed from this many of its newest jobs."""

_EARLIER_RUNS: Final = 20
_EARLIER_JOBS_A_STAGE: Final = 1_000
_JOBS_BELOW: Final = 20_000
"""At most this many jobs below those that may be lost are read for a sign of life."""

_QUERIES = queries("answers_verdicts")


class Key(NamedTuple):
    """Names a stage of a run."""

    depth: int
    worker: str


States = Mapping[Key, Mapping[str, int]]
"""How many jobs of each stage are in which state; a stage without a job is an empty mapping."""


class LostJob(NamedTuple):
    """A job that no longer executes, although its last event says so."""

    job_id: str
    started_at: datetime


@dataclass(frozen=True)
class Judged:
    """The stages of a whole run: the verdict of each, and its lost jobs."""

    verdicts: dict[Key, Verdict]
    lost: dict[Key, list[LostJob]]
    kinds: dict[Key, Kind]

    def of_part(self, states: States, job_ids: frozenset[str], now: datetime) -> dict[Key, Verdict]:
        """Return the verdicts for a part of the run: these stages, and of their jobs only these."""
        found = {}
        for key, counts in states.items():
            lost = [job for job in self.lost.get(key, ()) if job.job_id in job_ids]
            whole = self.verdicts.get(key)
            if whole is not None:
                found[key] = _of_part(
                    whole, counts, _describe_lost_jobs(lost, self.kinds.get(key, Kind()), now)
                )
        return found


class _Execution(NamedTuple):
    depth: int
    worker: str
    at: datetime


class _Durations(NamedTuple):
    depth: int
    worker: str
    completed: int
    longest_seconds: float | None


class _Overdue(NamedTuple):
    depth: int
    worker: str
    job_id: str
    at: datetime


class _LifeBelow(NamedTuple):
    job_id: str
    changed_at: datetime | None
    is_open: bool | None
    executing_ids: list[str]
    is_whole: bool


class _LifeOfRun(NamedTuple):
    changed_at: datetime | None
    is_open: bool


class _Facts(NamedTuple):
    depth: int
    worker: str
    ready: int
    oldest_ready_at: datetime | None
    last_movement_at: datetime | None


class _Ready(NamedTuple):
    depth: int
    worker: str
    ready: int
    oldest_ready_at: datetime


class _Pace(NamedTuple):
    depth: int
    worker: str
    usual_gap_seconds: float | None
    usual_wait_seconds: float | None


class _StateCount(NamedTuple):
    depth: int
    worker: str
    state: str
    jobs: int


def read_states(connection: psycopg.Connection, scope: Scope) -> dict[Key, dict[str, int]]:
    """Return the jobs of each stage in each state."""
    states: dict[Key, dict[str, int]] = {}
    query = queries("answers_lineage")["stage_states"]
    for count in read(connection, _StateCount, query, **scope.parameters()):
        states.setdefault(Key(count.depth, count.worker), {})[count.state] = count.jobs
    return states


def judge_stages(
    connection: psycopg.Connection,
    scope: Scope,
    states: States,
    now: datetime,
    rule: StuckRule,
    limit_jobs: int,
) -> dict[Key, Verdict]:
    """Return the verdict of each stage of the scope; none if a walk was cut, because jobs may be missing."""
    if scope.cut_at is not None:
        return {}
    run = (
        scope if scope.run is not None or not _any_open(states) else whole_run(connection, scope, limit_jobs)
    )
    if run is None or run.cut_at is not None:
        return {}
    if run is scope:
        return judge_run(connection, run, states, now, rule).verdicts
    judged = judge_run(connection, run, read_states(connection, run), now, rule)
    return judged.of_part(states, frozenset(scope.walked), now)


def find_lost_jobs(
    connection: psycopg.Connection, run: Scope | None, now: datetime, rule: StuckRule
) -> frozenset[str]:
    """Return the lost jobs of a whole run; none if the run is not known or its walk was cut."""
    if run is None or run.cut_at is not None:
        return frozenset()
    lost, _ = _find_lost(connection, run, read_states(connection, run), now, rule)
    return frozenset(job.job_id for jobs in lost.values() for job in jobs)


def may_be_lost(
    state: str, started_at: datetime | None, since: datetime, now: datetime, rule: StuckRule
) -> bool:
    """Return whether a job has been executing for long enough to ask whether it is lost."""
    return state == "executing" and (now - (started_at or since)).total_seconds() > rule.lost_floor_seconds


def judge_run(
    connection: psycopg.Connection, run: Scope, states: States, now: datetime, rule: StuckRule
) -> Judged:
    """Return the verdicts of a whole run. Cheap queries come first; each further one can only clear a stage of being stuck."""
    lost, kinds = _find_lost(connection, run, states, now, rule)
    facts = {
        key: StageFacts(
            waiting=sum(jobs for state, jobs in counts.items() if state in MAY_WAIT),
            executing=counts.get("executing", 0),
            lost=len(lost.get(key, ())),
        )
        for key, counts in states.items()
        if counts
    }
    facts |= _facts_of_waiting(connection, run, facts, now, rule)
    verdicts = {}
    for key, known in facts.items():
        stuck = find_stuck(known, now, rule)
        described = _describe_lost_jobs(lost.get(key, []), kinds.get(key, Kind()), now)
        verdicts[key] = Verdict(judge(known, now, rule), stuck, described)
    return Judged(verdicts, lost, kinds)


def _any_open(states: States) -> bool:
    return any(_is_open(counts) for counts in states.values())


def _is_open(counts: Mapping[str, int]) -> bool:
    return "executing" in counts or bool(MAY_WAIT & counts.keys())


def _of_part(whole: Verdict, counts: Mapping[str, int], lost: Lost | None) -> Verdict:
    """Return the verdict for some jobs of a stage: the stage's own, if it concerns these jobs."""
    if not _is_open(counts):
        return Verdict("over")
    if whole.name == "stuck" and MAY_WAIT & counts.keys():
        return replace(whole, lost=lost)
    if lost is not None:
        return Verdict("lost", lost=lost)
    return Verdict("waiting" if whole.name == "waiting" else "at_work")


def _describe_lost_jobs(lost: list[LostJob], kind: Kind, now: datetime) -> Lost | None:
    if not lost:
        return None
    return describe_lost(len(lost), min(job.started_at for job in lost), kind, now)


def _facts_of_waiting(
    connection: psycopg.Connection, run: Scope, known: dict[Key, StageFacts], now: datetime, rule: StuckRule
) -> dict[Key, StageFacts]:
    """Return the facts of the stages in which jobs wait and none is at work, as far as their verdict needs them."""
    candidates = [key for key, facts in known.items() if facts.waiting and facts.executing == facts.lost]
    found = {
        Key(row.depth, row.worker): replace(
            known[Key(row.depth, row.worker)],
            ready=row.ready,
            oldest_ready_at=row.oldest_ready_at,
            last_movement_at=row.last_movement_at,
        )
        for row in _of_stages(connection, _Facts, "stage_facts", run, candidates, now=now)
    }
    # Which of the ready jobs rightly wait for others.
    due = [key for key, facts in found.items() if facts.ready]
    ready = {
        Key(row.depth, row.worker): row
        for row in _of_stages(connection, _Ready, "stage_ready", run, due, now=now)
    }
    for key in due:
        row = ready.get(key)
        found[key] = replace(
            found[key],
            ready=row.ready if row else 0,
            oldest_ready_at=row.oldest_ready_at if row else None,
        )
    suspects = [key for key, facts in found.items() if find_stuck(facts, now, rule) is not None]
    for pace in _of_stages(connection, _Pace, "stage_pace", run, suspects, newest=PACE_JOBS):
        key = Key(pace.depth, pace.worker)
        found[key] = replace(
            found[key], usual_gap_seconds=pace.usual_gap_seconds, usual_wait_seconds=pace.usual_wait_seconds
        )
    return found


def _find_lost(
    connection: psycopg.Connection, run: Scope, states: States, now: datetime, rule: StuckRule
) -> tuple[dict[Key, list[LostJob]], dict[Key, Kind]]:
    """Return the lost jobs of each stage that has any, and how long the jobs of these kinds take."""
    executing = [key for key, counts in states.items() if "executing" in counts]
    floor = now - timedelta(seconds=rule.lost_floor_seconds)
    oldest = {
        Key(row.depth, row.worker): row.at
        for row in _of_stages(connection, _Execution, "oldest_executions", run, executing)
    }
    candidates = [key for key in executing if key in oldest and oldest[key] < floor]
    kinds = _kinds(connection, run, candidates)
    befores = {key: now - timedelta(seconds=longest_allowed_seconds(kinds[key], rule)) for key in candidates}
    candidates = [key for key in candidates if oldest[key] < befores[key]]
    overdue: dict[str, tuple[Key, LostJob]] = {
        row.job_id: (Key(row.depth, row.worker), LostJob(row.job_id, row.at))
        for row in _of_stages(
            connection,
            _Overdue,
            "overdue_executions",
            run,
            candidates,
            befores=[befores[key] for key in candidates],
        )
    }
    if not overdue:
        return {}, kinds
    at_work = sum(counts.get("executing", 0) for counts in states.values()) - len(overdue)
    alive = _alive_below(connection, run, overdue, befores, at_work, now)
    lost: dict[Key, list[LostJob]] = {}
    for job_id, (key, job) in overdue.items():
        if job_id not in alive:
            lost.setdefault(key, []).append(job)
    return lost, kinds


def _kinds(connection: psycopg.Connection, run: Scope, stages: list[Key]) -> dict[Key, Kind]:
    """Return how long the jobs of these stages take: in this run, and in earlier ones if few completed in this one."""
    kinds = {key: Kind() for key in stages}
    for row in _of_stages(connection, _Durations, "stage_durations", run, stages):
        kinds[Key(row.depth, row.worker)] = Kind(row.completed, row.longest_seconds)
    few = {key for key, kind in kinds.items() if kind.completed < ENOUGH_COMPLETED and key.depth >= 0}
    root = read_job(connection, run.namespace, run.root) if few else None
    if root is not None:
        for row in _of_stages(
            connection,
            _Durations,
            "earlier_durations",
            run,
            sorted(few),
            root_worker=root.worker,
            earlier_runs=_EARLIER_RUNS,
            jobs_a_stage=_EARLIER_JOBS_A_STAGE,
        ):
            key = Key(row.depth, row.worker)
            if key in few:
                kinds[key] += Kind(row.completed, row.longest_seconds)
    return kinds


def _alive_below(
    connection: psycopg.Connection,
    run: Scope,
    overdue: Mapping[str, tuple[Key, LostJob]],
    befores: Mapping[Key, datetime],
    at_work: int,
    now: datetime,
) -> set[str]:
    """Return the overdue jobs that have a sign of life below them: a job at work or ready, or a change within their time."""
    alive = set()
    root = overdue.get(run.root)
    if root is not None:
        life = read(connection, _LifeOfRun, _QUERIES["life_of_run"], **run.parameters(), now=now)[0]
        changed = life.changed_at is not None and life.changed_at >= befores[root[0]]
        if at_work or life.is_open or changed:
            alive.add(run.root)
    asked = [job_id for job_id in overdue if job_id != run.root]
    if asked:
        bound = len(asked) + _JOBS_BELOW
        below = read(
            connection,
            _LifeBelow,
            _QUERIES["life_below"],
            namespace=run.namespace,
            job_ids=asked,
            bound=bound,
            now=now,
        )
        for row in below:
            changed = row.changed_at is not None and row.changed_at >= befores[overdue[row.job_id][0]]
            works = any(job_id not in overdue for job_id in row.executing_ids)
            # If not all jobs below could be read, the answer is not known, so the job does not count as lost.
            if row.is_open or changed or works or not row.is_whole:
                alive.add(row.job_id)
    return alive


def _of_stages(
    connection: psycopg.Connection,
    row_type: type[Row],
    name: str,
    scope: Scope,
    stages: list[Key],
    **parameters: Any,
) -> list[Row]:
    """Return the rows of a query about these stages; without stages, no query is sent."""
    if not stages:
        return []
    columns = {"depths": [stage.depth for stage in stages], "workers": [stage.worker for stage in stages]}
    return read(connection, row_type, _QUERIES[name], **scope.parameters(), **columns, **parameters)
