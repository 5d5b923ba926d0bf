"""Retention in a universe: a process that advances the horizon between batches, and what the law allows then.

For a job with events on both sides of the horizon, `jobs` and its edges may lack the facts of the older events: that
depends on whether a newer event came before its row was deleted or after. Nothing else may depend on it.
"""

import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import combinations
from multiprocessing.connection import Connection as Pipe

import psycopg

from settings.database import DatabaseSettings
from store.connection import connect
from store.retention.run import give_up
from tests.law.oracle import Event, Row, Tables, edges_of, job_row
from tests.law.universes import EPOCH, Retention, Universe

_LINGERING_SECONDS = 30
FEW = 2
"""Rows in one transaction, and failures left when a partition is dropped: small, so that every path is taken."""


def retain_for(pipe: Pipe, database_url: str) -> None:
    """Run each Retention that comes through the pipe; answer with the counts of deleted rows, or with the error."""
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

    def reached(_step: str) -> None:
        nonlocal seen
        seen += 1
        if seen == asked.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    end = time.monotonic() + _LINGERING_SECONDS
    try:
        while True:
            done = give_up(
                connection, _at(asked.horizon_us).date(), batch_rows=FEW, at_once=FEW, reached=reached
            )
            if not done.busy or time.monotonic() > end:
                break
            time.sleep(0.02)  # the session of a killed process ends when the server has noticed
    except Exception:  # noqa: BLE001  # any error: the test fails and shows it
        return traceback.format_exc()
    if done.busy:
        return "another run of retention is at work, although there is none"
    return Counter(
        {
            "partitions dropped": len(done.attempts.partitions),
            "attempts deleted one by one": done.attempts.rows,
            "jobs removed": done.rows.jobs,
            "edges removed": done.rows.edges,
        }
    )


def tolerant(expected: Tables, found: Tables, universe: Universe) -> Tables:
    """Return the expected rows; where the law allows two results, take the one that was found."""
    last = universe.last_horizon_us
    if not universe.retentions or last is None:
        return expected
    first = universe.horizon_us
    jobs, edges = Counter(expected["jobs"]), Counter(expected["lineage_edges"])
    for job in {(event["namespace"], event["job_id"]) for event in universe.events}:
        events = [event for event in universe.events if (event["namespace"], event["job_id"]) == job]
        kept = [event for event in events if event["occurred_at"] >= last]
        older = [
            event
            for event in events
            if event["occurred_at"] < last and (first is None or event["occurred_at"] >= first)
        ]
        if not kept or not older:
            continue
        possible = {job_row([*kept, *some]) for some in _subsets(_distinct(older))}
        for row in possible & set(found["jobs"]):
            jobs[job_row(kept)], jobs[row] = 0, 1
        edges |= Counter(_edges(older) & set(found["lineage_edges"]))
    return {**expected, "jobs": +jobs, "lineage_edges": +edges}


def _edges(events: list[Event]) -> set[Row]:
    return {edge for event in events for edge in edges_of(event)}


def _distinct(events: list[Event]) -> list[Event]:
    return [event for number, event in enumerate(events) if event not in events[:number]]


def _subsets(events: list[Event]) -> Iterator[tuple[Event, ...]]:
    for size in range(len(events) + 1):
        yield from combinations(events, size)


def _at(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)
