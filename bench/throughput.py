"""Measures events per second of one aggregator, end to end: from the broker's log to committed rows.

The same run measures, for comparison, the naive consumers, Pulsar's own JDBC sink (``bench/peer.py``), and plain
`schemaless_reader` calls for the same events on one core.
"""

import io
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import fastavro

from bench import flat_events, peer
from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import (
    RUN_SECONDS,
    TOPIC,
    Consumed,
    Servers,
    consume,
    database,
    environment,
    merged_environment,
    provision_topic,
    servers,
)
from schemas.contract import SCHEMA
from schemas.writer_schema import plain_schema
from testing.publish import publish
from testing.workload import ALL_JOBS, Message, messages, recent_start_us

NAIVE_EVENTS = {1: 10_000, 500: 30_000}
AGGREGATOR = "jobtrail aggregate"

AIM_RATE = 80_000
AIM_SHARE = 0.45
AIM_OVER_DEFAULTS = 4.0
AIM_OVER_BEST = 1.1


@dataclass(frozen=True)
class Run:
    """One run of a consumer over the workload."""

    consumer: str
    events: int
    events_per_second: float
    cpu_seconds: dict[str, float]
    """Over the run, by process: consumer, postgres, pulsar."""


@dataclass(frozen=True)
class Throughput:
    """The results of `measure`."""

    jobs: int
    events: int
    payload_bytes: float
    decodes_per_second: float
    """Plain schemaless_reader calls for the same events on one core."""
    runs: list[Run]

    def rate(self, consumer: str) -> float:
        """Return events per second: the median of the consumer's runs."""
        return statistics.median(run.events_per_second for run in self.runs if run.consumer == consumer)


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the aims."""
    found = measure(options.jobs, options.repeats, say)
    return Result(table(found), asdict(found), aims(found), [chart(found)])


def measure(jobs: int, repeats: int, say: Say) -> Throughput:
    """Publish the workload of ``jobs`` jobs once, and read it with every consumer."""
    start_us = recent_start_us()
    say(f"encoding {jobs:,} of {ALL_JOBS:,} jobs")
    workload = messages(jobs, start_us=start_us)
    with servers() as on:
        provision_topic(on.pulsar)
        say(f"publishing {len(workload):,} events, ours and flat")
        publish(on.pulsar.url, TOPIC, workload)
        peer.publish_flat(on, flat_events.messages(jobs, start_us))
        decodes, runs = [], []
        for repeat in range(repeats):
            # In turns, so that slow phases of the machine affect all consumers.
            decodes.append(decodes_per_second(workload))
            runs += _turn(on, len(workload), repeat, say)
        for commit_every, wanted in NAIVE_EVENTS.items():
            runs.append(_said(_naive(on, commit_every, min(wanted, len(workload)), say), say))
    payload = statistics.fmean(len(message.payload) for message in workload)
    return Throughput(jobs, len(workload), payload, statistics.median(decodes), runs)


def table(found: Throughput) -> str:
    """Return the result as a table to read."""
    lines = [
        f"{found.events:,} events of {found.jobs:,} jobs, {found.payload_bytes:.0f} bytes each, 8 partitions, shuffled",
        f"plain schemaless_reader of the same events on one core: {found.decodes_per_second:,.0f}/s",
        "",
        f"{'':<44}{'':>10}{'':>11}   CPU seconds (µs an event)",
        f"{'consumer':<44}{'events/s':>10}{'of decode':>11}   {'consumer':>16}{'Postgres':>16}{'Pulsar':>16}",
    ]
    for name in _names(found):
        runs = [run for run in found.runs if run.consumer == name]
        cost = "".join(_cost(runs, part) for part in ("consumer", "postgres", "pulsar"))
        label = f"{name} (of {len(runs)})" if len(runs) > 1 else name
        rate = found.rate(name)
        lines.append(f"{label:<44}{rate:>10,.0f}{rate / found.decodes_per_second:>11.2f}   {cost}")
    lines += [
        "",
        "(of n): the median of n runs. The sink's CPU seconds include Java's start and compilation.",
    ]
    return "\n".join(lines)


def aims(found: Throughput) -> list[Aim]:
    """Return the aims: a rate or a share of the plain decodes, whichever is more; and multiples of the peer's rate."""
    ours = found.rate(AGGREGATOR)
    best = max(found.rate(tuning.name) for tuning in peer.TUNED)
    return [
        Aim("aggregator", ours, max(AIM_RATE, AIM_SHARE * found.decodes_per_second), " events/s"),
        Aim("aggregator, of plain decodes on one core", ours / found.decodes_per_second, AIM_SHARE),
        Aim(
            "aggregator, of the sink with its defaults",
            ours / found.rate(peer.DEFAULTS.name),
            AIM_OVER_DEFAULTS,
        ),
        Aim("aggregator, of the sink at its best", ours / best, AIM_OVER_BEST),
    ]


def chart(found: Throughput) -> Chart:
    """Return a chart with a bar for each consumer."""
    bars = [
        Bar(
            name,
            found.rate(name),
            f"{found.rate(name) / found.decodes_per_second:.2f} of decodes",
            ours=name == AGGREGATOR,
        )
        for name in _names(found)
    ]
    return Chart("Throughput, end to end", "events/s", bars)


def decodes_per_second(workload: Sequence[Message]) -> float:
    """Measure plain `schemaless_reader` calls per second on one core, with a schema without logical types."""
    schema = fastavro.parse_schema(plain_schema(SCHEMA))
    sample = [message.payload for message in workload[:100_000]]
    rates = []
    for _ in range(3):
        started = time.perf_counter()
        for payload in sample:
            fastavro.schemaless_reader(io.BytesIO(payload), schema, None)
        rates.append(len(sample) / (time.perf_counter() - started))
    return statistics.median(rates)


def aggregate(on: Servers, events: int, name: str) -> Run:
    """Run one aggregator over the whole topic, into a new database."""
    with database(on.postgres, name) as url:
        return _run_of(AGGREGATOR, consume(on, url, events, subscription=name), events)


def _turn(on: Servers, events: int, repeat: int, say: Say) -> list[Run]:
    say(f"aggregator, run {repeat + 1}")
    runs = [_said(aggregate(on, events, f"bench_aggregator_{repeat}"), say)]
    for number, tuning in enumerate((peer.DEFAULTS, *peer.TUNED)):
        say(f"{tuning.name}, run {repeat + 1}")
        found = peer.sink(on, tuning, events, f"bench_sink_{number}_{repeat}")
        runs.append(_said(_run_of(tuning.name, found, events), say))
    return runs


def _naive(on: Servers, commit_every: int, events: int, say: Say) -> Run:
    say(f"naive consumer, a commit every {commit_every}: {events:,} events")
    with database(on.postgres, f"bench_naive_{commit_every}") as url:
        before = on.cpu_seconds()
        done = subprocess.run(
            [sys.executable, "-m", "bench.naive", str(commit_every), str(events)],
            env=merged_environment(environment(on.pulsar, url)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=RUN_SECONDS,
        )
        after = on.cpu_seconds()
    rate, consumer = (float(word) for word in done.stdout.split()[-2:])
    cpu = {"consumer": consumer, **{part: after[part] - before[part] for part in after}}
    return Run(f"naive, a commit every {commit_every}", events, rate, cpu)


def _run_of(name: str, found: Consumed, events: int) -> Run:
    """Return a Run. ``events`` is what the CPU seconds were spent on; the rate may be measured over fewer events."""
    return Run(name, events, found.events_per_second, found.cpu_seconds)


def _said(run: Run, say: Say) -> Run:
    say(f"  {run.events_per_second:,.0f} events/s")
    return run


def _names(found: Throughput) -> list[str]:
    return list(dict.fromkeys(run.consumer for run in found.runs))


def _cost(runs: list[Run], part: str) -> str:
    seconds = statistics.median(run.cpu_seconds[part] for run in runs)
    return f"{seconds:.1f} ({seconds / runs[0].events * 1e6:.0f})".rjust(16)
