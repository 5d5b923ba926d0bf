"""Measures the aggregator with and without the deletion of ten days of old rows beside it, on the same full tables.

The old days are written into a database once; each run works on a copy of it. In every second run `jobtrail retain`
starts with the clock, with its default settings. The table shows how long it worked, and what it had deleted by the
end of the run.
"""

import statistics
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import (
    TOPIC,
    Consumed,
    Servers,
    consume,
    database,
    merged_environment,
    provision_topic,
    servers,
)
from derive.fold import fold
from schemas.contract import SCHEMA_TEXT, Event
from schemas.decode import decoder
from settings.database import DatabaseSettings
from store.connection import connect
from store.partitions import ensure_days
from store.writing.writer import prepare_session, write_batch
from testing.publish import publish
from testing.services import JOBTRAIL
from testing.workload import messages, recent_start_us

OLD_DAYS = 10
KEEP_DAYS = 7
AIM_OF_WITHOUT = 0.9
_FIRST_OLD_DAYS_AGO = 20
_BATCH = 10_000
_DAY_US = 24 * 3600 * 1_000_000


@dataclass
class Removal:
    """What `jobtrail retain` did during a run."""

    seconds: float = 0.0
    jobs: int = 0
    days: int = 0


@dataclass(frozen=True)
class Run:
    """One run of an aggregator over the workload, and the deletion beside it, if any."""

    consumed: Consumed
    removal: Removal | None


@dataclass(frozen=True)
class Found:
    """The results of `measure`."""

    old_jobs: int
    runs: list[Run]

    def rate(self, *, removing: bool) -> float:
        """Return events per second: the median of the runs with a deletion, or of those without."""
        return statistics.median(
            run.consumed.events_per_second for run in self.runs if (run.removal is not None) == removing
        )


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the runs without a deletion."""
    found = measure(options.jobs, options.repeats, say)
    without, removing = found.rate(removing=False), found.rate(removing=True)
    aim = Aim("the aggregator while old rows are removed, of without", removing / without, AIM_OF_WITHOUT)
    bars = [
        Bar("without", without, ""),
        Bar("while old rows are removed", removing, f"{removing / without:.2f} of without"),
    ]
    chart = Chart("Retention beside the aggregator", "events/s", bars, mark=AIM_OF_WITHOUT * without)
    return Result(table(found), as_json(found), [aim], [chart])


def measure(jobs: int, repeats: int, say: Say) -> Found:
    """Run over ``jobs`` jobs, with as many jobs in the old days, without and with a deletion in turns."""
    workload = messages(jobs, start_us=recent_start_us())
    runs = []
    with servers() as on:
        provision_topic(on.pulsar)
        say(f"publishing {len(workload):,} events")
        publish(on.pulsar.url, TOPIC, workload)
        with database(on.postgres, "bench_retention_old") as old:
            say(f"{jobs:,} jobs of {OLD_DAYS} old days")
            _fill(old, jobs)
            for repeat in range(repeats):
                for removing in (False, True):
                    say(f"{'removing' if removing else 'without'}, run {repeat + 1} of {repeats}")
                    runs.append(
                        _run(on, len(workload), f"bench_retention_{repeat}_{int(removing)}", removing)
                    )
                    say(f"  {runs[-1].consumed.events_per_second:,.0f} events/s")
    return Found(jobs, runs)


def table(found: Found) -> str:
    """Return the result as a table to read."""
    without = found.rate(removing=False)
    lines = [
        f"{found.old_jobs:,} jobs of {OLD_DAYS} old days in the tables, removed at the default pace",
        f"{'':<28}{'events/s':>10}{'of without':>12}   removed in the run",
    ]
    for run in found.runs:
        rate = run.consumed.events_per_second
        removal = run.removal
        did = f"{removal.days} days, {removal.jobs:,} jobs in {removal.seconds:.0f} s" if removal else ""
        name = "while old rows are removed" if removal else "without"
        lines.append(
            f"{name:<28}{rate:>10,.0f}{rate / without:>12.2f}   {did} of {run.consumed.seconds:.0f} s"
            if removal
            else f"{name:<28}{rate:>10,.0f}{rate / without:>12.2f}"
        )
    removing = found.rate(removing=True)
    return "\n".join([*lines, "", f"medians: {removing / without:.2f} of the rate without"])


def as_json(found: Found) -> dict[str, object]:
    """Return the result as plain data."""
    return {"old_jobs": found.old_jobs, "runs": [asdict(run) for run in found.runs]}


def _fill(url: str, jobs: int) -> None:
    """Write the old days with the product's own writer."""
    decode = decoder(SCHEMA_TEXT)
    today = datetime.now(UTC).date()
    first = today - timedelta(days=_FIRST_OLD_DAYS_AGO)
    midnight_us = round(datetime(first.year, first.month, first.day, tzinfo=UTC).timestamp()) * 1_000_000
    with connect(DatabaseSettings.load(database_url=url), "bench") as connection:
        ensure_days(connection, first, today)
        prepare_session(connection)
        for day in range(OLD_DAYS):
            generated = messages(jobs // OLD_DAYS, seed=100 + day, start_us=midnight_us + day * _DAY_US)
            for start in range(0, len(generated), _BATCH):
                events = [decode(message.payload) for message in generated[start : start + _BATCH]]
                write_batch(connection, fold(_of_another_day(event, day) for event in events))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE)")


def _of_another_day(event: Event, day: int) -> Event:
    """Return the event with ids that occur neither on other days nor in the workload."""
    ids = (event.job_id, event.parent_job_id, event.root_job_id)
    job_id, parent, root = (f"{day}-{one}" if one else "" for one in ids)
    return event._replace(job_id=job_id, parent_job_id=parent, root_job_id=root)


def _run(on: Servers, events: int, name: str, removing: bool) -> Run:
    with psycopg.connect(on.postgres.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name} TEMPLATE bench_retention_old")  # names of ours
        server.execute("CHECKPOINT")
        try:
            url = on.postgres.url(name)
            removal = Removal()
            consumed = consume(
                on,
                url,
                events,
                subscription=name,
                settings={"JOBTRAIL_RETENTION_DAYS": "0"},
                meanwhile=_removing(url, removal) if removing else None,
            )
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return Run(consumed, removal if removing else None)


@contextmanager
def _removing(url: str, removal: Removal) -> Iterator[None]:
    """Run `jobtrail retain` during the block; kill it at the end of the block if it still runs."""
    days, jobs = _left(url)
    started = time.monotonic()
    ends: list[float] = []
    environment = merged_environment(
        {"JOBTRAIL_DATABASE_URL": url, "JOBTRAIL_RETENTION_DAYS": str(KEEP_DAYS)}
    )
    process = subprocess.Popen([JOBTRAIL, "retain"], env=environment, stdout=subprocess.DEVNULL)

    def watch() -> None:
        process.wait()
        ends.append(time.monotonic())

    watcher = threading.Thread(target=watch, name="retain")
    watcher.start()
    try:
        yield
    finally:
        if process.poll() is None:
            process.kill()
        watcher.join()
    removal.seconds = ends[0] - started
    days_left, jobs_left = _left(url)
    removal.days, removal.jobs = days - days_left, jobs - jobs_left


def _left(url: str) -> tuple[int, int]:
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(
            "SELECT (SELECT count(DISTINCT date_trunc('day', hour, 'UTC')) FROM jobtrail.outcomes_hourly WHERE hour < current_date - 8),"
            " (SELECT count(*) FROM jobtrail.jobs WHERE latest_at < current_date - 8)"
        ).fetchone()
    assert row is not None
    return row[0], row[1]
