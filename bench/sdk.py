"""Measures what the SDK costs a job: microseconds for each event, and the slow-down of a loop that only computes.

It runs on its own real Pulsar, with all of Java's compilers. The aims: under 20 µs for an event, under 5 % slow-down
at 1,000 events/s. The cost of an event is the time its call delays the job, while the sender's thread and the broker
work beside it. `sdk_loop.py` explains how the slow-down is measured.
"""

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import jobtrail
from bench import sdk_loop
from bench.frame import Aim, Options, Result, Say
from bench.sdk_loop import EVENTS_PER_SECOND, Pair
from servers.folders import temporary_folder
from servers.pulsar import own_pulsar

EVENTS: Final = 10_000
PAIRS: Final = 40
WARM_UP_EVENTS: Final = 5_000
AIM_MICROSECONDS: Final = 20.0

Times = list[int]


def completed_job(times: Times) -> None:
    """Time a job that completes: two events."""
    job = jobtrail.job("MoviePageJob", queue="scraping", source="kino-krakow", external_id="movie:4711")
    start = time.perf_counter_ns()
    job.__enter__()
    middle = time.perf_counter_ns()
    job.__exit__(None, None, None)
    times += [middle - start, time.perf_counter_ns() - middle]


def failed_job(times: Times) -> None:
    """Time the end of a job that fails: one event, with a stack trace of four frames."""
    job = jobtrail.job("MovieDetailJob", queue="scraping", source="kino-krakow")
    job.__enter__()
    try:
        _fail(3)
    except ValueError as error:
        start = time.perf_counter_ns()
        job.__exit__(ValueError, error, error.__traceback__)
        times.append(time.perf_counter_ns() - start)


def enqueued(times: Times) -> None:
    """Time putting a job into a queue, with its header: one event."""
    start = time.perf_counter_ns()
    jobtrail.enqueued("MovieDetailJob", queue="details")
    times.append(time.perf_counter_ns() - start)


def enqueued_with_args(times: Times) -> None:
    """Time the same with small args, recorded as redacted JSON."""
    start = time.perf_counter_ns()
    jobtrail.enqueued(
        "MovieDetailJob", queue="details", args={"movie_id": 4711, "url": "https://example.org/4711"}
    )
    times.append(time.perf_counter_ns() - start)


def low_level(times: Times) -> None:
    """Time one validated event, as an integration publishes it."""
    start = time.perf_counter_ns()
    jobtrail.event(job_id="4711", worker="MovieDetailJob", queue="details", state="completed", attempt=1)
    times.append(time.perf_counter_ns() - start)


KINDS: Final[tuple[tuple[str, Callable[[Times], None]], ...]] = (
    ("job, entry and end", completed_job),
    ("job, end with an exception", failed_job),
    ("enqueued()", enqueued),
    ("enqueued(), with args", enqueued_with_args),
    ("event()", low_level),
)


@dataclass(frozen=True)
class Cost:
    """Quantiles of the time that one kind of event costs its caller, in microseconds."""

    kind: str
    p50: float
    p99: float
    p999: float
    greatest: float


@dataclass(frozen=True)
class SdkCost:
    """The results of `measure`."""

    costs: list[Cost]
    pairs: dict[str, list[Pair]]
    """The pairs of rounds of each loop."""
    sent: int
    dropped: dict[str, int]


def run(_options: Options, say: Say) -> Result:
    """Measure, and compare the medians of the calls and of the pairs of rounds with the aims."""
    found = measure(EVENTS, PAIRS, say)
    aims = [Aim(cost.kind, cost.p50, AIM_MICROSECONDS, " µs", at_most=True) for cost in found.costs]
    aims += [
        Aim(
            f"slow-down of a loop that {name}",
            100 * statistics.median(pair.slow_down for pair in pairs),
            100 * sdk_loop.AIM_SLOW_DOWN,
            " %",
            at_most=True,
        )
        for name, pairs in found.pairs.items()
    ]
    return Result(table(found), as_json(found), aims)


def measure(events: int, pairs: int, say: Callable[[str], None]) -> SdkCost:
    """Measure ``events`` events of each kind, and ``pairs`` pairs of rounds, on a new broker.

    Raises RuntimeError when the broker does not take the events.
    """
    with own_pulsar() as broker, temporary_folder("jobtrail-bench-spool-") as spool:
        jobtrail.configure(
            namespace="bench",
            pulsar_url=broker.url,
            topic=f"persistent://public/default/sdk-{os.getpid()}",
            spool_dir=str(spool),
        )
        try:
            say(f"warming up with {WARM_UP_EVENTS:,} events")
            _cost("warm-up", completed_job, WARM_UP_EVENTS)
            costs = []
            for name, kind in KINDS:
                say(f"{name}: {events:,} events")
                costs.append(_cost(name, kind, events))
            found = {}
            for name, work in sdk_loop.LOOPS:
                say(f"loop that {name}: {pairs} pairs")
                found[name] = sdk_loop.measure(work, pairs)
            stats = jobtrail.stats()
        finally:
            jobtrail.shutdown()
    return SdkCost(costs, found, stats.sent, stats.dropped)


def table(found: SdkCost) -> str:
    """Return the result as a table to read."""
    lines = [f"{'cost to the job of one event, µs':<34}{'p50':>8}{'p99':>9}{'p99.9':>9}{'max':>9}"]
    lines += [
        f"  {cost.kind:<32}{cost.p50:>8.1f}{cost.p99:>9.1f}{cost.p999:>9.1f}{cost.greatest:>9.1f}"
        for cost in found.costs
    ]
    lines += [f"  aim: p50 under {AIM_MICROSECONDS:g}; made at {EVENTS_PER_SECOND:,} events/s"]
    for name, pairs in found.pairs.items():
        lines += ["", *sdk_loop.lines(name, pairs)]
    lines += [f"{found.sent:,} events acknowledged by the broker, dropped: {found.dropped or 'none'}"]
    return "\n".join(lines)


def as_json(found: SdkCost) -> dict[str, object]:
    """Return the result as plain data."""
    return asdict(found)


def _cost(name: str, kind: Callable[[Times], None], events: int) -> Cost:
    """Make events at EVENTS_PER_SECOND, and time each."""
    times: Times = []
    started = time.perf_counter()
    while len(times) < events:
        kind(times)
        ahead = len(times) / EVENTS_PER_SECOND - (time.perf_counter() - started)
        if ahead > 0.001:
            time.sleep(ahead)
    sdk_loop.flush()
    ordered = [nanoseconds / 1000 for nanoseconds in sorted(times)]
    p50, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999))
    return Cost(name, p50, p99, p999, ordered[-1])


def _fail(depth: int) -> None:
    if depth:
        _fail(depth - 1)
    raise ValueError("seat map has no rows: showtime 4711 of cinema 12")
