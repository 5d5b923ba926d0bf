"""Measures events per second of the metrics consumer, and of the aggregator on the same topic in the same run.

The metrics consumer writes to no database, so it must be twice as fast.
"""

import statistics
from dataclasses import asdict, dataclass

from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import TOPIC, Consumed, Servers, consume, database, provision_topic, servers
from bench.throughput import decodes_per_second
from testing.publish import publish
from testing.workload import messages, recent_start_us

AIM_OVER_AGGREGATOR = 2.0


@dataclass(frozen=True)
class Rates:
    """The results of `measure`."""

    events: int
    decodes_per_second: float
    metrics: list[Consumed]
    aggregator: list[Consumed]


def run(options: Options, say: Say) -> Result:
    """Measure, and compare."""
    found = measure(options.jobs, options.repeats, say)
    ours, aggregator = _median(found.metrics), _median(found.aggregator)
    aims = [Aim("metrics consumer, of the aggregator's rate", ours / aggregator, AIM_OVER_AGGREGATOR)]
    bars = [
        Bar("jobtrail metrics", ours, f"{ours / aggregator:.2f} of the aggregator"),
        Bar("jobtrail aggregate", aggregator),
    ]
    chart = Chart("Metrics consumer", "events/s", bars, mark=AIM_OVER_AGGREGATOR * aggregator)
    return Result(table(found), asdict(found), aims, [chart])


def measure(jobs: int, repeats: int, say: Say) -> Rates:
    """Publish the workload of ``jobs`` jobs once, and read it with both consumers in turns."""
    workload = messages(jobs, start_us=recent_start_us())
    decodes = decodes_per_second(workload)
    rates = Rates(len(workload), decodes, [], [])
    with servers() as on:
        provision_topic(on.pulsar)
        say(f"publishing {len(workload):,} events")
        publish(on.pulsar.url, TOPIC, workload)
        for repeat in range(repeats):
            for command, found in (("metrics", rates.metrics), ("aggregate", rates.aggregator)):
                say(f"jobtrail {command}, run {repeat + 1} of {repeats}")
                found.append(_consume(on, command, len(workload), f"bench_{command}_{repeat}"))
                say(f"  {found[-1].events_per_second:,.0f} events/s")
    return rates


def table(found: Rates) -> str:
    """Return the result as a table to read."""
    lines = [
        f"{found.events:,} events; plain schemaless_reader of them on one core: {found.decodes_per_second:,.0f}/s",
        "",
        f"{'consumer':<22}{'events/s':>10}{'of decode':>11}   CPU of the consumer, µs an event",
    ]
    for name, runs in (("jobtrail metrics", found.metrics), ("jobtrail aggregate", found.aggregator)):
        cpu = statistics.median(run.cpu_seconds["consumer"] for run in runs) / found.events * 1e6
        rate = _median(runs)
        lines.append(f"{name:<22}{rate:>10,.0f}{rate / found.decodes_per_second:>11.2f}   {cpu:.1f}")
    lines += ["", f"medians of {len(found.metrics)} runs, in turns"]
    return "\n".join(lines)


def _consume(on: Servers, command: str, events: int, name: str) -> Consumed:
    with database(on.postgres, name) as url:
        return consume(on, url, events, subscription=name, command=command)


def _median(runs: list[Consumed]) -> float:
    return statistics.median(run.events_per_second for run in runs)
