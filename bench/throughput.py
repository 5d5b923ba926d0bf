"""Events a second of one aggregator, end to end: from the broker's log to committed rows, on the fixed workload.

Beside it two naive consumers, and what one core does in plain `schemaless_reader` calls of the same events. Broker,
Postgres (fsync, synchronous_commit and full_page_writes on) and consumer share the machine, as in a small deployment.
"""

import io
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import fastavro
import psycopg

from bench.machine import cpu_seconds
from bench.publish import publish
from bench.workload import ALL_JOBS, Message, messages
from broker import provision
from schemas.contract import SCHEMA
from schemas.writer_schema import plain_schema
from servers.postgres import PostgresServer
from servers.pulsar import OwnPulsar, PulsarServer, own_pulsar
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.migrate import migrate
from tests.services import Service, wait_until

TOPIC = "persistent://jobtrail/lifecycle/bench"
POSTGRES = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}
NAIVE_EVENTS = {1: 10_000, 500: 30_000}
_READY_SECONDS = 120
_RUN_SECONDS = 1_800


@dataclass(frozen=True)
class Run:
    """One consumer over one workload."""

    consumer: str
    events: int
    events_per_second: float
    cpu_seconds: dict[str, float]
    """By process, over the run: consumer, postgres, pulsar."""


@dataclass(frozen=True)
class Throughput:
    """All that `measure` found."""

    jobs: int
    events: int
    payload_bytes: float
    decodes_per_second: float
    """Plain schemaless_reader calls of the same events on one core."""
    runs: list[Run]


def measure(jobs: int, repeats: int, say: "Say") -> Throughput:
    """Publish the workload of so many jobs once, and read it with every consumer."""
    say(f"encoding {jobs:,} of {ALL_JOBS:,} jobs")
    workload = messages(jobs)
    decodes = _decodes_per_second(workload)
    with own_pulsar() as pulsar, PostgresServer(durable=True, settings=POSTGRES) as postgres:
        _provision(pulsar)
        say(f"publishing {len(workload):,} events")
        publish(pulsar.url, TOPIC, workload)
        runs = []
        for repeat in range(repeats):
            say(f"aggregator, run {repeat + 1} of {repeats}")
            runs.append(_aggregator(pulsar, postgres, len(workload), repeat))
            say(f"  {runs[-1].events_per_second:,.0f} events/s")
        for commit_every, wanted in NAIVE_EVENTS.items():
            events = min(wanted, len(workload))
            say(f"naive consumer, a commit every {commit_every}: {events:,} events")
            runs.append(_naive(pulsar, postgres, commit_every, events))
            say(f"  {runs[-1].events_per_second:,.0f} events/s")
    payload = statistics.fmean(len(message.payload) for message in workload)
    return Throughput(jobs, len(workload), payload, decodes, runs)


def table(found: Throughput) -> str:
    """What a person reads."""
    lines = [
        f"{found.events:,} events of {found.jobs:,} jobs, {found.payload_bytes:.0f} bytes each, 8 partitions, shuffled",
        f"plain schemaless_reader of the same events on one core: {found.decodes_per_second:,.0f}/s",
        "",
        f"{'':<34}{'':>10}{'':>11}   CPU seconds (µs an event)",
        f"{'consumer':<34}{'events/s':>10}{'of decode':>11}   {'consumer':>16}{'Postgres':>16}{'Pulsar':>16}",
    ]
    names = list(dict.fromkeys(run.consumer for run in found.runs))
    rates = {name: statistics.median(rates_of(found, name)) for name in names}
    for name in names:
        runs = [run for run in found.runs if run.consumer == name]
        cost = "".join(_cost(runs, part) for part in ("consumer", "postgres", "pulsar"))
        shown = f"{name} (median of {len(runs)})" if len(runs) > 1 else name
        lines.append(
            f"{shown:<34}{rates[name]:>10,.0f}{rates[name] / found.decodes_per_second:>11.2f}   {cost}"
        )
    best_naive = max(rate for name, rate in rates.items() if name != names[0])
    lines += ["", f"the aggregator is {rates[names[0]] / best_naive:.1f} times the better naive consumer"]
    return "\n".join(lines)


def _cost(runs: list[Run], part: str) -> str:
    seconds = statistics.median(run.cpu_seconds[part] for run in runs)
    return f"{seconds:.1f} ({seconds / runs[0].events * 1e6:.0f})".rjust(16)


def rates_of(found: Throughput, consumer: str) -> list[float]:
    """Events a second of every run of one consumer."""
    return [run.events_per_second for run in found.runs if run.consumer == consumer]


def as_json(found: Throughput) -> dict[str, object]:
    """The result as plain data."""
    return asdict(found)


class Say:
    """Where the bench tells what it is doing: standard error, so that the result stands alone."""

    def __call__(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


def _provision(pulsar: OwnPulsar) -> None:
    provision.run(
        ProvisionSettings.load(pulsar_url=pulsar.url, pulsar_admin_url=pulsar.admin_url, topic=TOPIC),
        check=False,
    )


def _decodes_per_second(workload: Sequence[Message]) -> float:
    schema = fastavro.parse_schema(plain_schema(SCHEMA))
    sample = [message.payload for message in workload[:100_000]]
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        for payload in sample:
            fastavro.schemaless_reader(io.BytesIO(payload), schema, None)
        rates.append(len(sample) / (time.perf_counter() - started))
    return statistics.median(rates)


@contextmanager
def _database(postgres: PostgresServer, name: str) -> Iterator[str]:
    with psycopg.connect(postgres.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")  # names of ours
        try:
            with connect(DatabaseSettings.load(database_url=postgres.url(name)), "bench") as connection:
                migrate(connection)
            yield postgres.url(name)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _aggregator(pulsar: OwnPulsar, postgres: PostgresServer, events: int, repeat: int) -> Run:
    with _database(postgres, f"bench_aggregator_{repeat}") as url, tempfile.TemporaryDirectory() as folder:
        before = _server_cpu(pulsar, postgres)
        running = Service(
            "aggregate",
            {**_environment(pulsar, url), "JOBTRAIL_AGGREGATOR_SUBSCRIPTION": f"bench-{repeat}"},
            Path(folder) / "log",
        )
        try:
            running.wait_ready()  # subscribed; the clock runs from here, the first batch included
            started = time.perf_counter()
            wait_until(lambda: _committed(running) >= events, "every event", running.end_of_log, _RUN_SECONDS)
            seconds = time.perf_counter() - started
            consumer = cpu_seconds(running.process.pid)
            after = _server_cpu(pulsar, postgres)
            running.stop()
        finally:
            if running.process.poll() is None:
                running.kill()
    cpu = {"consumer": consumer, **{name: after[name] - before[name] for name in after}}
    return Run("jobtrail aggregate", events, events / seconds, cpu)


def _committed(running: Service) -> float:
    _, text = running.get("/metrics")
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith("jobtrail_aggregator_events_total")
    )


def _naive(pulsar: OwnPulsar, postgres: PostgresServer, commit_every: int, events: int) -> Run:
    with _database(postgres, f"bench_naive_{commit_every}") as url:
        before = _server_cpu(pulsar, postgres)
        done = subprocess.run(
            [sys.executable, "-m", "bench.naive", str(commit_every), str(events)],
            env={**os.environ, **_environment(pulsar, url)},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=_RUN_SECONDS,
        )
        after = _server_cpu(pulsar, postgres)
    rate, consumer = (float(word) for word in done.stdout.split()[-2:])
    cpu = {"consumer": consumer, **{name: after[name] - before[name] for name in after}}
    return Run(f"naive, a commit every {commit_every}", events, rate, cpu)


def _environment(pulsar: OwnPulsar, database_url: str) -> dict[str, str]:
    return {
        "JOBTRAIL_PULSAR_URL": pulsar.url,
        "JOBTRAIL_PULSAR_ADMIN_URL": pulsar.admin_url,
        "JOBTRAIL_TOPIC": TOPIC,
        "JOBTRAIL_DATABASE_URL": database_url,
    }


def _server_cpu(pulsar: OwnPulsar, postgres: PostgresServer) -> dict[str, float]:
    """CPU seconds of the servers so far. A broker in a container is not measured."""
    broker = cpu_seconds(pulsar.pid) if isinstance(pulsar, PulsarServer) else 0.0
    return {"postgres": cpu_seconds(postgres.pid), "pulsar": broker}
