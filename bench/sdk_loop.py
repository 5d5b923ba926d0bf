"""Measures how much its jobs' events slow down a loop that only computes.

The slow-down is that of the whole loop, so it includes the sender thread's use of the interpreter. A round without
events and a round with them make a pair; which comes first alternates, so that slow phases of the machine affect both.
Such phases last, so rounds are short. The median of the pairs counts. There are two loops. One makes an integer in
each turn; its slow-down was twice as large (perhaps because Python's allocator is affected by objects made beside it).
The other makes no objects. The CPU time is shown as well, because it is meaningful even on a shared machine, where the
clock is not: of the loop's thread and the sender's together, and of the sender for each event.
"""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Final

import jobtrail

EVENTS_PER_SECOND: Final = 1_000
ROUND_SECONDS: Final = 0.4
AIM_SLOW_DOWN: Final = 0.05
_FLUSH_SECONDS: Final = 60
_SENDER: Final = "jobtrail-sender"

Work = Callable[[int], int]


@dataclass(frozen=True)
class Pair:
    """A round without events and one with them: for each its seconds by the clock, and of CPU time."""

    plain_seconds: float
    loud_seconds: float
    plain_processor: float
    """CPU time of the loop's thread."""
    loud_processor: float
    """CPU time of the loop's thread and the sender's."""
    sender_processor: float
    client_processor: float
    """CPU time of the publisher's thread, and of the threads of Pulsar's client, which need no interpreter."""
    events: int

    @property
    def slow_down(self) -> float:
        return self.loud_seconds / self.plain_seconds - 1


def measure(work: Work, pairs: int) -> list[Pair]:
    """Measure this many pairs. Raises RuntimeError when the broker does not take the events."""
    units = _units_per_second(work) // EVENTS_PER_SECOND
    return [_pair(work, units, loud_first=number % 2 == 1) for number in range(pairs)]


def lines(name: str, pairs: list[Pair]) -> list[str]:
    """Return the result of one loop as lines to read."""
    slow_downs = [pair.slow_down for pair in pairs]
    low, middle, high = statistics.quantiles(slow_downs, n=4)
    processor = statistics.median(pair.loud_processor / pair.plain_processor - 1 for pair in pairs)
    rate = statistics.median(pair.events / pair.loud_seconds for pair in pairs)
    sender = statistics.median(pair.sender_processor / pair.events for pair in pairs)
    client = statistics.median(pair.client_processor / pair.events for pair in pairs)
    return [
        f"slow-down of a loop that {name}, by {rate:,.0f} events/s: {middle:.1%} "
        f"(median of {len(pairs)} pairs, half of them from {low:.1%} to {high:.1%}); aim: under {AIM_SLOW_DOWN:.0%}",
        f"  by processor time of the loop's thread and the sender's: {processor:.1%}",
        f"  CPU of one event: the sender's thread {sender * 1e6:.1f} µs, the publisher's and Pulsar's own {client * 1e6:.1f} µs",
    ]


def flush() -> None:
    """Wait until the broker has all events. Raises RuntimeError when that takes too long."""
    if not jobtrail.flush(_FLUSH_SECONDS):
        raise RuntimeError(
            f"the broker did not take all events within {_FLUSH_SECONDS} s: {jobtrail.stats()}"
        )


def _making_integers(units: int) -> int:
    total = 0
    for number in range(units):
        total += number & 7
    return total


def _making_nothing(units: int) -> int:
    total = 0
    for _ in repeat(None, units):
        total = total + 7 & 63
    return total


LOOPS: Final[tuple[tuple[str, Work], ...]] = (
    ("makes integers", _making_integers),
    ("makes nothing", _making_nothing),
)


def _pair(work: Work, units_per_event: int, *, loud_first: bool) -> Pair:
    loud = _round(work, units_per_event, _loud_step) if loud_first else None
    plain = _round(work, units_per_event, _plain_step)
    loud = loud or _round(work, units_per_event, _loud_step)
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
    """Seconds by the clock, and CPU seconds of the loop's thread, of the sender's, and of the whole process."""

    seconds: float
    loop: float
    sender: float
    process: float


_STEPS: Final = int(ROUND_SECONDS * EVENTS_PER_SECOND / 2)  # a step is a job with two events


def _round(work: Work, units_per_event: int, step: Callable[[Work, int], None]) -> Round:
    """Do the same work in each round. The CPU time includes what its events cost after the loop."""
    loop, sender, process = time.thread_time(), _sender_seconds(), time.process_time()
    started = time.perf_counter()
    for _ in range(_STEPS):
        step(work, 2 * units_per_event)
    seconds = time.perf_counter() - started
    loop = time.thread_time() - loop
    flush()
    return Round(seconds, loop, _sender_seconds() - sender, time.process_time() - process)


def _plain_step(work: Work, units: int) -> None:
    work(units)


def _loud_step(work: Work, units: int) -> None:
    with jobtrail.job("CrunchJob", queue="cpu", source="bench"):
        work(units)


def _sender_seconds() -> float:
    """Return the CPU seconds of the sender's thread so far."""
    (ident,) = [thread.ident for thread in threading.enumerate() if thread.name == _SENDER]
    assert ident is not None
    return time.clock_gettime(time.pthread_getcpuclockid(ident))


def _units_per_second(work: Work) -> int:
    best = 0.0
    for _ in range(5):
        started = time.perf_counter()
        work(1_000_000)
        best = max(best, 1_000_000 / (time.perf_counter() - started))
    return int(best)
