"""Retention in a universe: a process that advances the horizon, and what the law then allows.

Between two parts of a plan, the oracle knows every row (`oracle_after_retention`). While writers are at work, two things
depend on whether an event came before or after retention examined its run: whether a run is kept although all of its events
are older than the horizon, and whether the rows of jobs and edges have what older events say. Nothing else may depend on it.
"""

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import combinations
from multiprocessing.connection import Connection as Pipe

import psycopg

from settings.database import DatabaseSettings
from store.connection import connect
from store.retention.run import delete_expired
from store.retention.session import Horizons
from tests.law.oracle import (
    Event,
    Row,
    Tables,
    edges_of,
    job_row,
    oracle,
    oracle_after_retention,
)
from tests.law.universes import EPOCH, Delivery, Retention, Universe

_LINGERING_SECONDS = 30
FEW = 2
"""Rows per transaction, and the failures left when a partition is dropped: small, so that every path is taken."""


def retain_for(pipe: Pipe, database_url: str) -> None:
    """Run each Retention from the pipe; answer with the counts of deleted rows, or with the error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settings = DatabaseSettings.load(database_url=database_url)
    connection = connect(settings, "jobtrail-law-retention", autocommit=True)
    while True:
        try:
            asked: Retention = pipe.recv()
        except EOFError:
            return
        pipe.send(_retain(connection, asked))


def _retain(connection: psycopg.Connection, asked: Retention) -> Counter[str] | str:
    seen = 0
    open_us = asked.open_horizon_us
    horizons = Horizons(_at(asked.horizon_us).date(), None if open_us is None else _at(open_us).date())

    def reached(_step: str) -> None:
        nonlocal seen
        seen += 1
        if seen == asked.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    end = time.monotonic() + _LINGERING_SECONDS
    try:
        while True:
            done = delete_expired(connection, horizons, batch_rows=FEW, at_once=FEW, reached=reached)
            if not done.busy or time.monotonic() > end:
                break
            time.sleep(0.02)  # the session of a killed process ends only when the server notices
    except Exception:  # noqa: BLE001  # any error: the test fails and shows it
        return traceback.format_exc()
    if done.busy:
        return "another retention seems to run, although there is none"
    return Counter(
        {
            "partitions dropped": len(done.attempts.partitions),
            "attempts deleted one by one": done.attempts.rows,
            "jobs removed": done.rows.jobs,
            "edges removed": done.rows.edges,
        }
    )


def expected_tables(universe: Universe, found: Tables) -> Tables:
    """Return what the tables must hold; where the law allows several values, those that were found."""
    last = universe.last_horizon_us
    if universe.plans_after is not None:
        assert last is not None
        return oracle_after_retention(
            _events_of(universe.plans),
            _events_of(universe.plans_after),
            universe.dead_letters,
            (last, universe.last_open_horizon_us),
            universe.horizon_us,
        )
    expected = oracle(universe.events, universe.dead_letters, last)
    if not universe.retentions or last is None:
        return expected
    return _tolerant(expected, found, universe, last)


def _tolerant(expected: Tables, found: Tables, universe: Universe, last: int) -> Tables:
    first = universe.horizon_us
    jobs, edges = Counter(expected["jobs"]), Counter(expected["lineage_edges"])
    rows = {row[:2]: row for row in found["jobs"]}
    for job in {(event["namespace"], event["job_id"]) for event in universe.events}:
        events = [event for event in universe.events if (event["namespace"], event["job_id"]) == job]
        kept = [event for event in events if event["occurred_at"] >= last]
        older = [
            event
            for event in events
            if event["occurred_at"] < last and (first is None or event["occurred_at"] >= first)
        ]
        row = rows.get(job)
        if row is None or not older:
            continue
        if row in _possible_rows(kept, _distinct(older)):
            jobs = +Counter({other: 1 for other in jobs if other[:2] != job} | {row: 1})
        edges |= Counter(_edges(older) & set(found["lineage_edges"]))
    return {**expected, "jobs": jobs, "lineage_edges": +edges}


def _events_of(plans: Sequence[Sequence[Delivery]]) -> list[Event]:
    return [event for plan in plans for delivery in plan for event in delivery.events]


def _possible_rows(kept: list[Event], older: list[Event]) -> Iterator[Row]:
    """Yield the possible rows of a job from all newer events and some of the older ones, the likeliest first."""
    for some in (tuple(older), *_subsets(older)):
        if kept or some:
            yield job_row([*kept, *some])


def _edges(events: list[Event]) -> set[Row]:
    return {edge for event in events for edge in edges_of(event)}


def _distinct(events: list[Event]) -> list[Event]:
    return [event for number, event in enumerate(events) if event not in events[:number]]


def _subsets(events: list[Event]) -> Iterator[tuple[Event, ...]]:
    for size in range(len(events) + 1):
        yield from combinations(events, size)


def _at(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)
