"""Measures how long questions take with many jobs stored, while the aggregator works at about half its limit.

Each question is a call of `store.answers` on an open connection, as in a program; p50, p95 and the longest of 50
calls. `testing/filled.py` fills the database; the fixed workload is published meanwhile, at a set rate.
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.synchronize import Event
from typing import Final

import psycopg

from bench.frame import Aim, Options, Result, Say
from bench.services import (
    RUN_SECONDS,
    TOPIC,
    Servers,
    counted,
    database,
    environment,
    provision_topic,
    servers,
)
from servers.folders import temporary_folder
from settings.database import DatabaseSettings
from store.answers.failures import get_failure_groups
from store.answers.lineage import get_ancestors, get_pipeline_stats
from store.answers.runs import get_runs
from store.answers.sources import get_sources
from store.connection import connect
from testing.filled import AT_WORK, STUCK, fill, large_run_jobs
from testing.publish import publish
from testing.services import Service
from testing.workload import NAMESPACE, Message, messages, recent_start_us

JOBS: Final = 100_000
FULL_JOBS: Final = 1_000_000
TIMES: Final = 50
EVENTS_A_SECOND: Final = 25_000
"""About half of the aggregator's limit on two cores; the table shows the rate it reached."""

_MEANWHILE_JOBS: Final = 100_000
"""Their events, 3.5 for each job, are published again and again."""

_SLICES_A_SECOND: Final = 4
_PAUSE_SECONDS: Final = 0.05
"""The pause between two questions, so that they fall into all phases of the aggregator's work."""


@dataclass(frozen=True)
class Asked:
    """One question, asked TIMES times. Milliseconds, in the order of asking."""

    question: str
    aim_ms: float | None
    milliseconds: list[float]

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds)

    @property
    def p95(self) -> float:
        return statistics.quantiles(self.milliseconds, n=20)[-1]


@dataclass(frozen=True)
class Questions:
    """The results of `measure`."""

    jobs: int
    run_jobs: int
    """The jobs in each of the two large runs."""
    events_per_second: float
    """The aggregator's rate while the questions were asked."""
    asked: list[Asked]


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the aims."""
    found = measure(FULL_JOBS if options.full else JOBS, EVENTS_A_SECOND, say)
    aims = [
        Aim(f"{one.question}, p50", one.p50, one.aim_ms, " ms", at_most=True)
        for one in found.asked
        if one.aim_ms is not None
    ]
    return Result(table(found), as_json(found), aims)


def measure(jobs: int, events_a_second: int, say: Say) -> Questions:
    """Fill a database with jobs, start the aggregator, publish to it at the rate, and ask every question."""
    with servers() as on, database(on.postgres, "bench_questions") as url:
        say(f"writing {jobs:,} jobs")
        fill(url, jobs)
        provision_topic(on.pulsar)
        say("encoding the events to publish meanwhile")
        with (
            _aggregating(on, url) as service,
            _publishing(on, events_a_second),
            closing(connect(DatabaseSettings.load(database_url=url), "bench", autocommit=True)) as asking,
        ):
            before, started = counted(service), time.perf_counter()
            asked = [_ask(name, aim, question, say) for name, aim, question in _questions(asking)]
            seconds = time.perf_counter() - started
            rate = (counted(service) - before) / seconds
    return Questions(jobs, large_run_jobs(jobs), rate, asked)


def table(found: Questions) -> str:
    """Return the result as a table to read."""
    lines = [
        f"{found.jobs:,} jobs stored, two runs of {found.run_jobs:,}; "
        f"the aggregator committed {found.events_per_second:,.0f} events/s meanwhile",
        "",
        f"{'question (ms, ' + str(TIMES) + ' times)':<52}{'p50':>9}{'p95':>9}{'longest':>9}{'aim':>7}",
    ]
    for one in found.asked:
        aim = f"{one.aim_ms:g}" if one.aim_ms is not None else ""
        lines.append(f"{one.question:<52}{one.p50:>9.1f}{one.p95:>9.1f}{max(one.milliseconds):>9.1f}{aim:>7}")
    return "\n".join(lines)


def as_json(found: Questions) -> dict[str, object]:
    """Return the result as plain data."""
    return asdict(found)


def _questions(connection: psycopg.Connection) -> Iterator[tuple[str, float | None, Callable[[], object]]]:
    deepest = connection.execute(
        "SELECT job_id FROM jobs WHERE namespace = %s AND root_job_id = %s ORDER BY depth DESC LIMIT 1",
        [NAMESPACE, AT_WORK],
    ).fetchone()
    assert deepest is not None
    day_ago = datetime.now(UTC) - timedelta(hours=24)
    yield "stages of a large run at work", 50, lambda: get_pipeline_stats(connection, NAMESPACE, AT_WORK)
    yield (
        "stages of a large run that is stuck, and why",
        None,
        lambda: get_pipeline_stats(connection, NAMESPACE, STUCK),
    )
    yield "ancestors of its deepest job", 5, lambda: get_ancestors(connection, NAMESPACE, deepest[0])
    yield "success rate of all sources, 24 hours", 50, lambda: get_sources(connection, day_ago)
    yield "failure groups, 50, with samples", 50, lambda: get_failure_groups(connection)
    yield "runs, the newest 20", None, lambda: get_runs(connection, NAMESPACE)


def _ask(name: str, aim_ms: float | None, question: Callable[[], object], say: Say) -> Asked:
    milliseconds = []
    for _ in range(TIMES):
        started = time.perf_counter()
        question()
        milliseconds.append((time.perf_counter() - started) * 1_000)
        time.sleep(_PAUSE_SECONDS)
    asked = Asked(name, aim_ms, milliseconds)
    say(f"{name}: p50 {asked.p50:.1f} ms, p95 {asked.p95:.1f} ms")
    return asked


@contextmanager
def _aggregating(on: Servers, url: str) -> Iterator[Service]:
    with temporary_folder("jobtrail-bench-") as folder:
        service = Service("aggregate", environment(on.pulsar, url), folder / "log")
        try:
            service.wait_ready()
            yield service
            service.stop()
        finally:
            if service.process.poll() is None:
                service.kill()


@contextmanager
def _publishing(on: Servers, events_a_second: int) -> Iterator[None]:
    """Publish the workload over and over until the block ends, in another process, which does not hold our GIL."""
    spawn = multiprocessing.get_context("spawn")
    encoded, done = spawn.Event(), spawn.Event()
    publisher = spawn.Process(target=_publish, args=(on.pulsar.url, events_a_second, encoded, done))
    publisher.start()
    try:
        if not encoded.wait(RUN_SECONDS):
            raise RuntimeError("the workload was not encoded in time")
        yield
    finally:
        done.set()
        publisher.join()


def _publish(url: str, events_a_second: int, encoded: Event, done: Event) -> None:
    """Yield events at a rate: a quarter of a second's events every quarter of a second."""
    workload = messages(_MEANWHILE_JOBS, start_us=recent_start_us())
    encoded.set()

    def paced() -> Iterator[Message]:
        size = events_a_second // _SLICES_A_SECOND
        due, first = time.monotonic(), 0
        while not done.wait(max(0.0, due - time.monotonic())):
            yield from workload[first : first + size]
            first = (first + size) % len(workload)
            due += 1 / _SLICES_A_SECOND

    publish(url, TOPIC, paced())
