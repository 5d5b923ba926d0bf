"""Fills a database as after days of work: jobs, attempts, edges and aggregates, written by the product's own writer.

It has runs of all sizes over five days, 20 sources, 400 pairs of worker and queue, 500 failure groups; and two large runs:
one at work, one that got stuck an hour ago. Only the last events of each job are written, which gives the same tables.
"""

import random
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Final

from derive.fold import fold
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch
from testing.workload import FAILING, GROUPS, NAMESPACE, SOURCES

AT_WORK: Final = "at-work"
STUCK: Final = "stuck"
"""The root ids of the two large runs."""

DAYS: Final = 5
_BATCH: Final = 10_000
_SECOND_US: Final = 1_000_000
_HOUR_US: Final = 3_600 * _SECOND_US
_PAUSE_US: Final = _SECOND_US  # before a retry
_PAIRS: Final = 20  # of worker and queue, for each source
_WIDTHS: Final = (0.002, 0.1, 0.3, 0.998)  # shares of a run up to depths 1, 2, 3; the rest is one long branch
_DEEPEST: Final = 8
_STACK: Final = "".join(
    f'  File "app/scrapers/step_{line}.py", line {line}, in fetch\n' for line in range(40)
)[:900]


@dataclass(frozen=True)
class Run:
    """One run: its root id, number of jobs, source, start, length, and the shares of its jobs that wait or execute."""

    root: str
    jobs: int
    source: int
    start_us: int
    lasts_us: int
    waiting: float = 0.0
    executing: float = 0.0


def large_run_jobs(jobs: int) -> int:
    """Return the size of each of the two large runs: 100,000 jobs, or a fifth of all jobs if that is less."""
    return min(100_000, jobs // 5)


def fill(database_url: str, jobs: int, seed: int = 7) -> None:
    """Write this many jobs. Raises the same as the writer."""
    generated = _events(jobs, random.Random(seed), int(datetime.now(UTC).timestamp()) * _SECOND_US)
    settings = DatabaseSettings.load(database_url=database_url)
    with closing(connect(settings, "jobtrail bench")) as connection:
        prepare_session(connection)
        while events := list(islice(generated, _BATCH)):
            write_batch(connection, fold(events))
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE")


def _events(jobs: int, rng: random.Random, now_us: int) -> Iterator[Event]:
    large = large_run_jobs(jobs)
    for run in (
        Run(AT_WORK, large, 1, now_us - 6 * _HOUR_US, 6 * _HOUR_US, waiting=0.3, executing=0.001),
        Run(STUCK, large, 2, now_us - 7 * _HOUR_US, 6 * _HOUR_US, waiting=0.3),
    ):
        yield from _run(run, rng)
    number = 0
    left = jobs - 2 * large
    while left:
        size = min(int(10 ** rng.uniform(0, 4)), left)
        start = now_us - rng.randrange(DAYS * 24 * _HOUR_US)
        yield from _run(
            Run(f"{50_000_000 + number}", size, number % SOURCES, start, min(now_us - start, _HOUR_US)), rng
        )
        number, left = number + size, left - size


def _run(run: Run, rng: random.Random) -> Iterator[Event]:
    last_of_depth = {0: run.root}
    for place in range(run.jobs):
        share = place / run.jobs
        if place == 0:
            depth = 0
        else:
            depth = 1 + sum(share >= width for width in _WIDTHS)
            if depth > len(_WIDTHS):
                depth += place % (_DEEPEST - len(_WIDTHS))
            while depth - 1 not in last_of_depth:
                depth -= 1
        job_id = run.root if place == 0 else f"{run.root}-{place}"
        yield from _job(run, rng, job_id, depth, last_of_depth.get(depth - 1, ""), place)
        last_of_depth[depth] = job_id


def _job(run: Run, rng: random.Random, job_id: str, depth: int, parent: str, place: int) -> Iterator[Event]:
    pair = run.source * 7 + depth + 9 * (place % 2)
    started = run.start_us + int(run.lasts_us * (place / run.jobs))
    said = Event(
        namespace=NAMESPACE,
        job_id=job_id,
        worker=f"Worker{pair % (_PAIRS * SOURCES // 4)}",
        queue=f"queue-{pair % 4}",
        state="completed",
        attempt=1,
        occurred_at=started,
        source=f"source-{run.source:02d}",
        max_attempts=5,
        enqueued_at=started - 10 * _SECOND_US,
        started_at=started,
        parent_job_id=parent,
        root_job_id=run.root,
        depth=depth,
        external_id=f"movie:{place}",
        release="2026.11.2",
        executor=f"worker-{place % 16}:4711",
        args=f'{{"movie_id": {place}, "page": 1}}',
    )
    attempt, ended = 1, started + rng.randrange(1_000, 2 * _SECOND_US)
    while rng.random() < FAILING and attempt < 5:
        yield said._replace(attempt=attempt, state="retryable", occurred_at=ended, error=_error(rng, place))
        said = said._replace(started_at=ended + _PAUSE_US)
        attempt, ended = attempt + 1, said.started_at + rng.randrange(1_000, 2 * _SECOND_US)
    now = said._replace(attempt=attempt, occurred_at=ended)
    lot = rng.random() if depth == len(_WIDTHS) else 1.0
    if lot < run.waiting:
        yield now._replace(started_at=0, state="available", occurred_at=said.enqueued_at)
    elif lot < run.waiting + run.executing:
        lately = run.start_us + run.lasts_us - 60 * _SECOND_US
        yield now._replace(state="executing", started_at=lately, occurred_at=lately)
    elif rng.random() < 0.01:
        yield now._replace(state="discarded", error=_error(rng, place))
    else:
        yield now._replace(state="completed")


def _error(rng: random.Random, place: int) -> dict[str, str]:
    kind = rng.randrange(GROUPS // SOURCES)
    return {
        "category": ("timeout", "connection", "movie_not_ready", "invalid_data", "http")[kind % 5],
        "type": f"Failure{kind}",
        "message": f"movie {place} could not be read from page {place % 977} of the programme after {kind} tries",
        "stacktrace": _STACK,
        "origin": f"app.scrapers.step_{kind}:fetch",
        "fingerprint": "",
    }
