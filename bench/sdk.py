"""What the SDK costs a job: microseconds for each event, and the slow-down of a loop that only computes.

`python -m bench.sdk [--json]`, on a real Pulsar. The aims: under 20 µs an event, under 5 % at 1,000 events/s.

The cost of an event is the time its call keeps the job waiting, two threads and the broker at work beside it. The
slow-down is that of the whole loop, so it holds what the sender's thread takes of the interpreter as well; rounds with
and without events alternate, so that the machine's moods meet both, and their median counts. Beside it stands the
processor's time: that of the loop's thread and of the sender's together, as a share of a loop without events. It is an
upper bound on an idle core, and means something on a machine that others use as well, where the clock does not.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import jobtrail
from servers.pulsar import any_pulsar

EVENTS: Final = 20_000
EVENTS_PER_SECOND: Final = 1_000
ROUND_SECONDS: Final = 2.0
ROUNDS: Final = 7
AIM_MICROSECONDS: Final = 20.0
AIM_SLOW_DOWN: Final = 0.05

Times = list[int]


def completed_job(times: Times) -> None:
    """A job that completes: two events."""
    job = jobtrail.job("MoviePageJob", queue="scraping", source="kino-krakow", external_id="movie:4711")
    start = time.perf_counter_ns()
    job.__enter__()
    middle = time.perf_counter_ns()
    job.__exit__(None, None, None)
    times += [middle - start, time.perf_counter_ns() - middle]


def failed_job(times: Times) -> None:
    """The end of a job that fails: one event, with a stack trace of four frames."""
    job = jobtrail.job("MovieDetailJob", queue="scraping", source="kino-krakow")
    job.__enter__()
    try:
        _fail(3)
    except ValueError as error:
        start = time.perf_counter_ns()
        job.__exit__(ValueError, error, error.__traceback__)
        times.append(time.perf_counter_ns() - start)


def enqueued(times: Times) -> None:
    """A job put into a queue, with small args and the header to travel with it: one event."""
    start = time.perf_counter_ns()
    jobtrail.enqueued(
        "MovieDetailJob", queue="details", args={"movie_id": 4711, "url": "https://example.org/4711"}
    )
    times.append(time.perf_counter_ns() - start)


def low_level(times: Times) -> None:
    """One validated event of an integration."""
    start = time.perf_counter_ns()
    jobtrail.event(job_id="4711", worker="MovieDetailJob", queue="details", state="completed", attempt=1)
    times.append(time.perf_counter_ns() - start)


KINDS: Final[tuple[tuple[str, Callable[[Times], None]], ...]] = (
    ("job, entry and end", completed_job),
    ("job, end with an exception", failed_job),
    ("enqueued()", enqueued),
    ("event()", low_level),
)


def cost_per_event(kind: Callable[[Times], None], events: int) -> dict[str, float]:
    """Make events at EVENTS_PER_SECOND and give quantiles of what each cost its caller, in microseconds."""
    times: Times = []
    started = time.perf_counter()
    while len(times) < events:
        kind(times)
        ahead = len(times) / EVENTS_PER_SECOND - (time.perf_counter() - started)
        if ahead > 0.001:
            time.sleep(ahead)
    ordered = sorted(times)
    quantiles = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    found = {name: ordered[int(len(ordered) * share)] / 1000 for name, share in quantiles.items()}
    return {**found, "mean": statistics.fmean(ordered) / 1000, "max": ordered[-1] / 1000}


def slow_down(rounds: int, round_seconds: float) -> dict[str, float]:
    """Compute with and without 1,000 events/s, in turns, and give the median slow-down of the pairs."""
    units_per_event = _units_per_second() // EVENTS_PER_SECOND
    steps = int(round_seconds * EVENTS_PER_SECOND)
    pairs = []
    for _ in range(rounds):
        plain = _loop(steps, units_per_event, with_events=False)
        loud = _loop(steps, units_per_event, with_events=True)
        jobtrail.flush(30)
        pairs.append((plain, loud))
    ratios = sorted(loud.seconds / plain.seconds - 1 for plain, loud in pairs)
    return {
        "slow_down": statistics.median(ratios),
        "least": ratios[0],
        "greatest": ratios[-1],
        "processor_share": statistics.median(loud.processor / plain.processor - 1 for plain, loud in pairs),
        "events_per_second": statistics.median(loud.events / loud.seconds for _, loud in pairs),
    }


class Loop(NamedTuple):
    """One round: seconds by the clock, seconds of processor of the loop's and the sender's thread, events made."""

    seconds: float
    processor: float
    events: int


def _loop(steps: int, units: int, *, with_events: bool) -> Loop:
    events = 0
    started = time.perf_counter()
    processor = _processor_seconds()
    for _ in range(steps // 2):
        if with_events:
            with jobtrail.job("CrunchJob", queue="cpu", source="bench"):
                _work(2 * units)
            events += 2
        else:
            _work(2 * units)
    return Loop(time.perf_counter() - started, _processor_seconds() - processor, events)


def _processor_seconds() -> float:
    """Time on a processor of the Python threads: this one and the sender's, not those of Pulsar's client."""
    clocks = [time.pthread_getcpuclockid(thread.ident) for thread in threading.enumerate() if thread.ident]
    return sum(time.clock_gettime(clock) for clock in clocks)


def _work(units: int) -> int:
    total = 0
    for number in range(units):
        total += number & 7
    return total


def _units_per_second() -> int:
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        _work(1_000_000)
        best = max(best, 1_000_000 / (time.perf_counter() - started))
    return int(best)


def _fail(depth: int) -> None:
    if depth:
        _fail(depth - 1)
    raise ValueError("seat map has no rows: showtime 4711 of cinema 12")


def measure(events: int, rounds: int, round_seconds: float) -> dict[str, Any]:
    """Measure all, on the broker that the SDK is configured for."""
    with jobtrail.job("WarmUpJob"):
        pass
    if not jobtrail.flush(60):
        raise SystemExit("the broker did not take the first events within 60 s")
    costs = {}
    for name, kind in KINDS:
        cost_per_event(kind, 500)
        costs[name] = cost_per_event(kind, events)
        jobtrail.flush(60)
    stats = jobtrail.stats()
    return {
        "cost_microseconds": costs,
        "loop": slow_down(rounds, round_seconds),
        "sent": jobtrail.stats().sent,
        "dropped": stats.dropped,
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "load": round(os.getloadavg()[0], 2),
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in ("pulsar-client", "fastavro")},
        },
    }


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor()


def table(result: dict[str, Any]) -> str:
    """Give the result as text."""
    lines = [f"{'cost to the job of one event, µs':<34} {'p50':>8} {'p99':>8} {'p99.9':>8} {'max':>9}"]
    for name, cost in result["cost_microseconds"].items():
        lines.append(
            f"  {name:<32} {cost['p50']:8.1f} {cost['p99']:8.1f} {cost['p999']:8.1f} {cost['max']:9.1f}"
        )
    loop = result["loop"]
    lines += [
        f"  aim: under {AIM_MICROSECONDS:g}",
        "",
        f"slow-down of a loop that computes, {loop['events_per_second']:.0f} events/s: "
        f"{loop['slow_down']:.1%} (rounds from {loop['least']:.1%} to {loop['greatest']:.1%}); "
        f"aim: under {AIM_SLOW_DOWN:.0%}",
        f"  processor of the loop's and the sender's thread together: {loop['processor_share']:+.1%}",
        f"sent {result['sent']}, dropped {result['dropped'] or 0}",
        ", ".join(f"{name} {value}" for name, value in result["machine"].items()),
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.sdk", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON")
    parser.add_argument(
        "--events", type=int, default=EVENTS, help="events of each kind (default %(default)s)"
    )
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="pairs of rounds of the loop (default %(default)s)"
    )
    options = parser.parse_args(arguments)
    with any_pulsar() as broker:
        jobtrail.configure(
            namespace="bench", pulsar_url=broker.url, topic=f"persistent://public/default/sdk-{os.getpid()}"
        )
        result = measure(options.events, options.rounds, ROUND_SECONDS)
        jobtrail.shutdown()
    print(json.dumps(result, indent=2) if options.json else table(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
