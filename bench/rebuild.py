"""Measures events per second of a rebuild, and of the aggregator on the same topic in the same run.

A rebuild must be faster: it acknowledges nothing, writes new tables with few indexes by several processes, and does
not wait for the disk. The time runs from the first loading process to the swap, with indexing and following; nothing
else is published meanwhile.
"""

import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

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
from testing.publish import publish
from testing.workload import messages, recent_start_us

AIM_OVER_AGGREGATOR = 1.3

_TIMES_THE_JOBS = 3
"""How many times the throughput's jobs: start and swap take 1.5 s at any size, so the reading must take longer."""

# Each phase lasts from the first of these log lines to the second.
_PHASES = {
    "loading": ("loading", "indexing"),
    "indexes": ("indexing", "following"),
    "following, swap": ("following", "swapped"),
    "comparing": ("comparing", "dropping the old tables"),
}


@dataclass(frozen=True)
class Rebuilt:
    """One rebuild of the whole topic."""

    events: int
    seconds: float
    """From the first loading process to the swap."""
    phases: dict[str, float]
    """Seconds by phase; the comparison comes after the swap."""
    writers_waited_at_most_seconds: float

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


@dataclass(frozen=True)
class Rates:
    """The results of `measure`."""

    events: int
    rebuild: list[Rebuilt]
    aggregator: list[Consumed]


def run(options: Options, say: Say) -> Result:
    """Measure, and compare."""
    found = measure(_TIMES_THE_JOBS * options.jobs, options.repeats, say)
    ours = statistics.median(one.events_per_second for one in found.rebuild)
    aggregator = statistics.median(one.events_per_second for one in found.aggregator)
    aims = [Aim("rebuild, of the aggregator's rate", ours / aggregator, AIM_OVER_AGGREGATOR)]
    bars = [
        Bar("jobtrail rebuild", ours, f"{ours / aggregator:.2f} of the aggregator"),
        Bar("jobtrail aggregate", aggregator),
    ]
    chart = Chart("Rebuild", "events/s", bars, mark=AIM_OVER_AGGREGATOR * aggregator)
    return Result(table(found), asdict(found), aims, [chart])


def measure(jobs: int, repeats: int, say: Say) -> Rates:
    """Publish the workload of ``jobs`` jobs once; aggregate it, and rebuild what was aggregated, several times."""
    workload = messages(jobs, start_us=recent_start_us())
    rates = Rates(len(workload), [], [])
    with servers() as on:
        provision_topic(on.pulsar)
        say(f"publishing {len(workload):,} events")
        publish(on.pulsar.url, TOPIC, workload)
        for repeat in range(repeats):
            name = f"bench_rebuild_{repeat}"
            with database(on.postgres, name) as url:
                say(f"jobtrail aggregate, run {repeat + 1} of {repeats}")
                rates.aggregator.append(consume(on, url, len(workload), subscription=name))
                say(f"  {rates.aggregator[-1].events_per_second:,.0f} events/s")
                say(f"jobtrail rebuild, run {repeat + 1} of {repeats}")
                rates.rebuild.append(_rebuild(on, url))
                say(f"  {rates.rebuild[-1].events_per_second:,.0f} events/s")
    return rates


def table(found: Rates) -> str:
    """Return the result as a table to read."""
    rebuild = statistics.median(one.events_per_second for one in found.rebuild)
    aggregator = statistics.median(one.events_per_second for one in found.aggregator)
    waited = max(one.writers_waited_at_most_seconds for one in found.rebuild)
    lines = [
        f"{found.events:,} events; medians of {len(found.rebuild)} runs, in turns",
        "",
        f"{'':<22}{'events/s':>10}",
        f"{'jobtrail rebuild':<22}{rebuild:>10,.0f}",
        f"{'jobtrail aggregate':<22}{aggregator:>10,.0f}",
        "",
        f"the rebuild is {rebuild / aggregator:.2f} times as fast; its seconds:",
        *(
            f"  {phase:<20}{statistics.median(one.phases[phase] for one in found.rebuild):>10.2f}"
            for phase in _PHASES
        ),
        f"the longest time that writers had to wait: {waited:.3f} s",
    ]
    return "\n".join(lines)


def _rebuild(on: Servers, url: str) -> Rebuilt:
    done = subprocess.run(
        [Path(sys.executable).with_name("jobtrail"), "rebuild", "--json"],
        env=merged_environment({**environment(on.pulsar, url), "JOBTRAIL_LOG_FORMAT": "json"}),
        capture_output=True,
        text=True,
        timeout=RUN_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"the rebuild ended with status {done.returncode}: {done.stderr[-2_000:]}")
    said = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    at = {line["event"]: datetime.fromisoformat(line["timestamp"]) for line in reversed(said)}
    swapped = next(line for line in said if line["event"] == "swapped")
    return Rebuilt(
        events=json.loads(done.stdout)["events"],
        seconds=(at["swapped"] - at["loading"]).total_seconds(),
        phases={name: (at[end] - at[start]).total_seconds() for name, (start, end) in _PHASES.items()},
        writers_waited_at_most_seconds=swapped["writers_waited_at_most_seconds"],
    )
