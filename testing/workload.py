"""The fixed, seeded workload of the benchmarks: jobs with their events, encoded and shuffled.

It has 1,000,000 jobs (or a share of them) with 3.5 events each, 20 sources, runs of 1 to 10,000 jobs, and events in
random order. 8 % of the attempts fail, in 500 groups, with a message and a stack trace of 1 kB together.
"""

import io
import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro

from schemas.contract import SCHEMA_TEXT

ALL_JOBS = 1_000_000
NAMESPACE = "bench-production"
SOURCES = 20
GROUPS = 500
FAILING = 0.08
SCHEDULED = 0.34
"""The share of jobs with a `scheduled` event before the others; it makes 3.5 events for each job."""

FIRST_ID = 10_000_000
"""The id of the first job; the others count up from it."""

_START_US = 1_790_000_000_000_000
_HOURS = 6


def recent_start_us() -> int:
    """Return yesterday's midnight: within any retention, and the same for all runs of a day."""
    midnight = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    return int(midnight.timestamp()) * 1_000_000


@dataclass(frozen=True)
class Message:
    """One event, ready to publish."""

    key: str
    payload: bytes


def events(
    jobs: int, seed: int = 1, start_us: int = _START_US, first_job: int = 0
) -> Iterator[dict[str, Any]]:
    """Yield all events of ``jobs`` jobs, job by job; the ids count up from that of the first job."""
    rng = random.Random(seed)
    stack = "".join(f'  File "app/scrapers/step_{line}.py", line {line}, in fetch\n' for line in range(40))[
        :900
    ]
    number = first_job
    last_job = first_job + jobs
    while number < last_job:
        # Sizes of runs spread evenly over the orders of magnitude, as real ones do.
        size = min(int(10 ** rng.uniform(0, 4)), last_job - number)
        root = f"{FIRST_ID + number}"
        for place in range(size):
            yield from _events_of_job(rng, number, root, place, stack, start_us)
            number += 1


def _events_of_job(
    rng: random.Random, number: int, root: str, place: int, stack: str, start_us: int
) -> Iterator[dict[str, Any]]:
    at = start_us + rng.randrange(_HOURS * 3600 * 1_000_000)
    worker, depth = ("SyncJob", 0) if place == 0 else ("PageJob", 1) if place % 10 else ("DetailJob", 2)
    parent = "" if depth == 0 else root if depth == 1 else f"{int(root) + max(0, place - 1)}"
    source = f"source-{number % SOURCES:02d}"
    said: dict[str, Any] = {
        "namespace": NAMESPACE,
        "job_id": f"{FIRST_ID + number}",
        "worker": worker,
        "queue": "scraping" if depth else "imports",
        "source": source,
        "max_attempts": 5,
        "enqueued_at": at,
        "parent_job_id": parent,
        "root_job_id": root,
        "depth": depth,
        "external_id": f"movie:{number % 100_000}",
        "release": "2026.11.2",
        "executor": f"worker-{number % 16}:4711",
    }
    first = {"args": json.dumps({"movie_id": number, "page": place})}
    if rng.random() < SCHEDULED:
        yield {**said, **first, "state": "scheduled", "attempt": 1, "occurred_at": at}
        first = {}
    yield {**said, **first, "state": "available", "attempt": 1, "occurred_at": at}
    attempt = 1
    while True:
        started = at = at + rng.randrange(1_000, 5_000_000)
        run = {**said, "attempt": attempt, "started_at": started}
        yield {**run, "state": "executing", "occurred_at": at}
        at += rng.randrange(1_000, 2_000_000)
        if rng.random() >= FAILING:
            yield {**run, "state": "completed", "occurred_at": at}
            return
        error = _error(rng.randrange(GROUPS // SOURCES), number, stack)
        state = "retryable" if attempt < 5 else "discarded"
        yield {**run, "state": state, "occurred_at": at, "error": error}
        if state == "discarded":
            return
        attempt += 1


def _error(kind: int, number: int, stack: str) -> dict[str, str]:
    """Return an error of this kind; kinds and sources make the failure groups. The message has a variable part."""
    return {
        "category": ("timeout", "connection", "movie_not_ready", "invalid_data", "http")[kind % 5],
        "type": f"Failure{kind}",
        "message": f"movie {number} could not be read from page {number % 977} of the programme after {kind} tries",
        "stacktrace": stack,
        "origin": f"app.scrapers.step_{kind}:fetch",
    }


def messages(jobs: int, seed: int = 1, start_us: int = _START_US) -> list[Message]:
    """Return the workload, encoded with the released schema and shuffled."""
    return encoded(events(jobs, seed, start_us), seed)


def encoded(made: Iterable[dict[str, Any]], seed: int = 1) -> list[Message]:
    """Return events, encoded with the released schema and shuffled."""
    writer = fastavro.parse_schema(json.loads(SCHEMA_TEXT))
    result = []
    for event in made:
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, writer, event)
        result.append(Message(event["job_id"], stream.getvalue()))
    random.Random(seed + 1).shuffle(result)
    return result
