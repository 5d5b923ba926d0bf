"""Measures one aggregator with many jobs stored: the same new events at 10⁵, 10⁶ and, with --full, 10⁷ jobs.

Each time the tables are filled (``bench/stored.py``), vacuumed and analysed, a checkpoint is made, and then events of new
jobs are aggregated: once with ids in order, and once with scattered ids.
"""

import statistics
from dataclasses import asdict, dataclass

import psycopg

from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import Consumed, Servers, consume, database, provision_topic, servers
from bench.stored import IN_ORDER, SCATTERED, TEMPLATE_JOBS, fill, new_events
from testing.publish import publish
from testing.workload import encoded, recent_start_us

SIZES = (100_000, 1_000_000)
FULL_SIZES = (100_000, 1_000_000, 10_000_000)
AIM_OF_SMALLEST = 0.7
_FIRST_NEW_JOB = 50_000_000  # beyond the numbers of all stored jobs
_TOPIC = "persistent://jobtrail/lifecycle/bench-scale"


@dataclass(frozen=True)
class Point:
    """The runs with new events into a database that already holds ``stored_jobs``."""

    stored_jobs: int
    ids: str
    database_bytes: int
    runs: list[Consumed]

    @property
    def rate(self) -> float:
        """Return events per second: the median of the runs."""
        return statistics.median(run.events_per_second for run in self.runs)


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the smallest size."""
    sizes = FULL_SIZES if options.full else SIZES
    found = measure(sizes, max(1_000, options.jobs * 3 // 10), options.repeats, say)
    bars, aims = [], []
    for point in found:
        share = point.rate / _smallest(found, point).rate
        bars.append(Bar(f"{point.stored_jobs:,} jobs stored, {point.ids}", point.rate, f"{share:.2f}"))
        if point.stored_jobs == sizes[-1]:
            what = f"at {point.stored_jobs:,} stored jobs, {point.ids}, of the rate at {sizes[0]:,}"
            aims.append(Aim(what, share, AIM_OF_SMALLEST))
    return Result(
        table(found), {"points": [asdict(point) for point in found]}, aims, [Chart("Scale", "events/s", bars)]
    )


def measure(sizes: tuple[int, ...], new_jobs: int, repeats: int, say: Say) -> list[Point]:
    """Aggregate ``new_jobs`` new jobs, ``repeats`` times, at each size and with each kind of ids."""
    start_us = recent_start_us()
    found = []
    with servers() as on:
        for kind, ids in enumerate((IN_ORDER, SCATTERED)):
            counts = []
            for repeat in range(repeats):
                topic = _topic(kind, repeat)
                made = encoded(new_events(new_jobs, _FIRST_NEW_JOB + repeat * new_jobs, ids, start_us))
                provision_topic(on.pulsar, topic)
                counts.append(publish(on.pulsar.url, topic, made))
            for size in sizes:
                say(f"{ids.name}: storing {size:,} jobs")
                with database(on.postgres, f"bench_scale_{kind}_{size}") as url:
                    fill(url, size, ids, start_us, TEMPLATE_JOBS)
                    with psycopg.connect(url) as connection:
                        row = connection.execute("SELECT pg_database_size(current_database())").fetchone()
                    assert row is not None
                    runs = [
                        _run(on, url, counts[repeat], _topic(kind, repeat), f"size-{size}")
                        for repeat in range(repeats)
                    ]
                found.append(Point(size, ids.name, row[0], runs))
                say(f"  {found[-1].rate:,.0f} events/s")
    return found


def table(found: list[Point]) -> str:
    """Return the result as a table to read."""
    events = found[0].runs[0].events
    lines = [
        f"{events:,} events of new jobs; medians of {len(found[0].runs)} runs, one after the other into the same tables",
        "",
        f"{'jobs stored':>12}  {'':<15}{'database':>10}{'events/s':>10}{'of first':>10}   CPU, µs an event: consumer, Postgres",
    ]
    for point in found:
        share = point.rate / _smallest(found, point).rate
        cpu = [
            statistics.median(run.cpu_seconds[part] / run.events * 1e6 for run in point.runs)
            for part in ("consumer", "postgres")
        ]
        lines.append(
            f"{point.stored_jobs:>12,}  {point.ids:<15}{point.database_bytes / 2**20:>7,.0f} MB{point.rate:>10,.0f}"
            f"{share:>10.2f}   {cpu[0]:.0f}, {cpu[1]:.0f}"
        )
    return "\n".join(lines)


def _run(on: Servers, url: str, events: int, topic: str, subscription: str) -> Consumed:
    return consume(on, url, events, subscription=subscription, topic=topic)


def _topic(kind: int, repeat: int) -> str:
    return f"{_TOPIC}-{kind}-{repeat}"


def _smallest(found: list[Point], point: Point) -> Point:
    return next(other for other in found if other.ids == point.ids)
