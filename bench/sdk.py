"""What the SDK costs a job: microseconds for each event, and the slow-down of a loop that only computes.

On a real Pulsar of its own, with all of Java's compilers. The aims: under 20 µs an event, under 5 % at 1,000 events/s.

The cost of an event is the time its call keeps the job waiting, the sender's thread and the broker at work beside it.
The slow-down is that of the whole loop, so it holds what the sender's thread takes of the interpreter as well. A round
without events and one with them make a pair, in turns the one and the other first, so that the machine's moods meet
both; the median of the pairs counts. Beside it stands the processor's time, which means something also on a machine
that others use, where the clock does not: of the loop's thread and the sender's together, and of the sender for each
event.
"""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Final

import jobtrail
from servers.pulsar import own_pulsar

EVENTS: Final = 10_000
PAIRS: Final = 9
EVENTS_PER_SECOND: Final = 1_000
ROUND_SECONDS: Final = 2.0
WARM_UP_EVENTS: Final = 5_000
AIM_MICROSECONDS: Final = 20.0
AIM_SLOW_DOWN: Final = 0.05
_FLUSH_SECONDS: Final = 60
_SENDER: Final = "jobtrail-sender"

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
    """A job put into a queue, with the header to travel with it: one event."""
    start = time.perf_counter_ns()
    jobtrail.enqueued("MovieDetailJob", queue="details")
    times.append(time.perf_counter_ns() - start)


def enqueued_with_args(times: Times) -> None:
    """The same with small args, recorded as redacted JSON."""
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
    ("enqueued(), with args", enqueued_with_args),
    ("event()", low_level),
)


@dataclass(frozen=True)
class Cost:
    """Quantiles of what one kind of event costs its caller, in microseconds."""

    kind: str
    p50: float
    p99: float
    p999: float
    greatest: float


@dataclass(frozen=True)
class Pair:
    """A round without events and one with them: each in seconds by the clock, and of processor."""

    plain_seconds: float
    loud_seconds: float
    plain_processor: float
    """Of the loop's thread."""
    loud_processor: float
    """Of the loop's thread and the sender's."""
    sender_processor: float
    client_processor: float
    """Of the threads of Pulsar's client, which need no interpreter."""
    events: int

    @property
    def slow_down(self) -> float:
        return self.loud_seconds / self.plain_seconds - 1


@dataclass(frozen=True)
class SdkCost:
    """All that `measure` found."""

    costs: list[Cost]
    pairs: list[Pair]
    sent: int
    dropped: dict[str, int]


def measure(events: int, pairs: int, say: Callable[[str], None]) -> SdkCost:
    """Measure so many events of each kind, and so many pairs of rounds, on a broker of its own.

    Raises RuntimeError when the broker does not take the events.
    """
    with own_pulsar() as broker, tempfile.TemporaryDirectory(prefix="jobtrail-bench-spool-") as spool:
        jobtrail.configure(
            namespace="bench",
            pulsar_url=broker.url,
            topic=f"persistent://public/default/sdk-{os.getpid()}",
            spool_dir=spool,
        )
        try:
            say(f"warming up with {WARM_UP_EVENTS:,} events")
            _cost("warm-up", completed_job, WARM_UP_EVENTS)
            costs = []
            for name, kind in KINDS:
                say(f"{name}: {events:,} events")
                costs.append(_cost(name, kind, events))
            units = _units_per_second() // EVENTS_PER_SECOND
            found = []
            for number in range(pairs):
                say(f"loop, pair {number + 1} of {pairs}")
                found.append(_pair(units, loud_first=number % 2 == 1))
            stats = jobtrail.stats()
        finally:
            jobtrail.shutdown()
    return SdkCost(costs, found, stats.sent, stats.dropped)


def table(found: SdkCost) -> str:
    """What a person reads."""
    lines = [f"{'cost to the job of one event, µs':<34}{'p50':>8}{'p99':>9}{'p99.9':>9}{'max':>9}"]
    lines += [
        f"  {cost.kind:<32}{cost.p50:>8.1f}{cost.p99:>9.1f}{cost.p999:>9.1f}{cost.greatest:>9.1f}"
        for cost in found.costs
    ]
    slow_downs = sorted(pair.slow_down for pair in found.pairs)
    processor = statistics.median(pair.loud_processor / pair.plain_processor - 1 for pair in found.pairs)
    rate = statistics.median(pair.events / pair.loud_seconds for pair in found.pairs)
    sender = statistics.median(pair.sender_processor / pair.events for pair in found.pairs)
    client = statistics.median(pair.client_processor / pair.events for pair in found.pairs)
    lines += [
        f"  aim: p50 under {AIM_MICROSECONDS:g}; made at {EVENTS_PER_SECOND:,} events/s",
        "",
        f"slow-down of a loop that computes, by {rate:,.0f} events/s: {statistics.median(slow_downs):.1%} "
        f"(median of {len(slow_downs)} pairs, from {slow_downs[0]:.1%} to {slow_downs[-1]:.1%}); "
        f"aim: under {AIM_SLOW_DOWN:.0%}",
        f"  by processor time of the loop's thread and the sender's: {processor:.1%}",
        f"  CPU of one event: the sender's thread {sender * 1e6:.1f} µs, Pulsar's client's own {client * 1e6:.1f} µs",
        f"{found.sent:,} events acknowledged by the broker, dropped: {found.dropped or 'none'}",
    ]
    return "\n".join(lines)


def as_json(found: SdkCost) -> dict[str, object]:
    """The result as plain data."""
    return asdict(found)


def _cost(name: str, kind: Callable[[Times], None], events: int) -> Cost:
    """Make events at EVENTS_PER_SECOND, and take the time of each."""
    times: Times = []
    started = time.perf_counter()
    while len(times) < events:
        kind(times)
        ahead = len(times) / EVENTS_PER_SECOND - (time.perf_counter() - started)
        if ahead > 0.001:
            time.sleep(ahead)
    _flush()
    ordered = [nanoseconds / 1000 for nanoseconds in sorted(times)]
    p50, p99, p999 = (ordered[int(len(ordered) * share)] for share in (0.5, 0.99, 0.999))
    return Cost(name, p50, p99, p999, ordered[-1])


def _pair(units_per_event: int, *, loud_first: bool) -> Pair:
    if loud_first:
        loud, plain = _round(units_per_event, _loud_step), _round(units_per_event, _plain_step)
    else:
        plain, loud = _round(units_per_event, _plain_step), _round(units_per_event, _loud_step)
    return Pair(
        plain_seconds=plain.seconds,
        loud_seconds=loud.seconds,
        plain_processor=plain.loop,
        loud_processor=loud.loop + loud.sender,
        sender_processor=loud.sender,
        client_processor=loud.process - loud.loop - loud.sender,
        events=2 * _STEPS,
    )


@dataclass(frozen=True)
class Round:
    """Seconds by the clock, and of processor: of the loop's thread, of the sender's, of the whole process."""

    seconds: float
    loop: float
    sender: float
    process: float


_STEPS: Final = int(ROUND_SECONDS * EVENTS_PER_SECOND / 2)  # a step is a job, of two events


def _round(units_per_event: int, step: Callable[[int], None]) -> Round:
    """Do the same work in each round. What its events still cost after the loop is in the processor's time."""
    loop, sender, process = time.thread_time(), _sender_seconds(), time.process_time()
    started = time.perf_counter()
    for _ in range(_STEPS):
        step(2 * units_per_event)
    seconds = time.perf_counter() - started
    loop = time.thread_time() - loop
    _flush()
    return Round(seconds, loop, _sender_seconds() - sender, time.process_time() - process)


def _plain_step(units: int) -> None:
    _work(units)


def _loud_step(units: int) -> None:
    with jobtrail.job("CrunchJob", queue="cpu", source="bench"):
        _work(units)


def _flush() -> None:
    if not jobtrail.flush(_FLUSH_SECONDS):
        raise RuntimeError(
            f"the broker did not take all events within {_FLUSH_SECONDS} s: {jobtrail.stats()}"
        )


def _sender_seconds() -> float:
    """CPU seconds of the sender's thread so far."""
    (ident,) = [thread.ident for thread in threading.enumerate() if thread.name == _SENDER]
    assert ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


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
