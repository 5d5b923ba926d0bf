"""Measures one, two and four aggregators on one subscription and one database, and how long they wait for locks.

Replicas are for machines with enough cores. On two cores nothing can be gained: the measurement shows what sharing
costs. Some twenty times a second it samples what the sessions wait for (pg_stat_activity). The result is the share of
a replica's samples in which one of its sessions waited for a heavyweight lock (a row or an advisory lock that another
session holds, an index page being extended) or for a lightweight one (buffers, the log).
"""

import statistics
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field

import psycopg

from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import TOPIC, Consumed, Servers, consume, database, provision_topic, servers
from testing.publish import publish
from testing.workload import messages, recent_start_us

COUNTS = (1, 2, 4)
AIM_OF_ONE = 0.9
_SAMPLE_SECONDS = 0.05
_WAITS = """
    SELECT wait_event_type, wait_event
    FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'jobtrail aggregator' AND state = 'active'
        AND wait_event_type IN ('Lock', 'LWLock')
"""


@dataclass
class Waits:
    """Samples of the replicas' sessions, taken at even intervals."""

    samples: int = 0
    waiting: dict[str, int] = field(default_factory=dict)
    """In how many samples a session waited, by kind ('Lock transactionid'); the sessions are added up."""

    def share(self, kind: str, replicas: int) -> float:
        """Return the share of a replica's time in which one of its sessions waited for this kind (Lock, LWLock)."""
        waited = sum(count for what, count in self.waiting.items() if what.split()[0] == kind)
        return waited / (self.samples * replicas) if self.samples else 0.0


@dataclass(frozen=True)
class Fleet:
    """The result of a number of replicas over one workload."""

    replicas: int
    consumed: Consumed
    waits: Waits


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with one replica."""
    found = measure(options.jobs, options.repeats, say)
    one = rate(found, 1)
    aims = [
        Aim(f"{count} replicas, of one's rate", rate(found, count) / one, AIM_OF_ONE)
        for count in COUNTS
        if count > 1
    ]
    bars = [
        Bar(
            f"{count} replica{'s' if count > 1 else ''}",
            rate(found, count),
            f"{rate(found, count) / one:.2f} of one; {_share(found, count, 'Lock'):.1%} waiting for locks",
        )
        for count in COUNTS
    ]
    chart = Chart("Replicas on the same cores", "events/s", bars, mark=AIM_OF_ONE * one)
    return Result(table(found), {"fleets": [asdict(fleet) for fleet in found]}, aims, [chart])


def measure(jobs: int, repeats: int, say: Say) -> list[Fleet]:
    """Publish the workload of ``jobs`` jobs once, and read it with each number of replicas in turns."""
    workload = messages(jobs, start_us=recent_start_us())
    found = []
    with servers() as on:
        provision_topic(on.pulsar)
        say(f"publishing {len(workload):,} events")
        publish(on.pulsar.url, TOPIC, workload)
        for repeat in range(repeats):
            for count in COUNTS:
                say(f"{count} replicas, run {repeat + 1} of {repeats}")
                found.append(_fleet(on, count, len(workload), f"bench_replicas_{count}_{repeat}"))
                say(f"  {found[-1].consumed.events_per_second:,.0f} events/s")
    return found


def rate(found: list[Fleet], replicas: int) -> float:
    """Return events per second of this many replicas together: the median of the runs."""
    return statistics.median(
        fleet.consumed.events_per_second for fleet in found if fleet.replicas == replicas
    )


def table(found: list[Fleet]) -> str:
    """Return the result as a table to read."""
    one = rate(found, 1)
    lines = [
        f"{'':>10}{'':>12}{'':>10}   share of a replica's time that one of its sessions waits",
        f"{'replicas':>10}{'events/s':>12}{'of one':>10}{'for locks':>14}{'for lightweight locks':>24}   most of all for",
    ]
    for count in COUNTS:
        waiting: Counter[str] = Counter()
        for fleet in found:
            if fleet.replicas == count:
                waiting.update(fleet.waits.waiting)
        most = ", ".join(f"{what} ({times})" for what, times in waiting.most_common(3)) or "nothing"
        lines.append(
            f"{count:>10}{rate(found, count):>12,.0f}{rate(found, count) / one:>10.2f}"
            f"{_share(found, count, 'Lock'):>14.1%}{_share(found, count, 'LWLock'):>24.1%}   {most}"
        )
    samples = sum(fleet.waits.samples for fleet in found)
    lines += ["", f"medians of {len(found) // len(COUNTS)} runs; {samples:,} samples of pg_stat_activity"]
    return "\n".join(lines)


@contextmanager
def watched(database_url: str, waits: Waits) -> Iterator[None]:
    """Sample what the aggregators' sessions wait for, until the block ends."""
    over = threading.Event()

    def sample() -> None:
        with psycopg.connect(database_url, autocommit=True, application_name="bench") as connection:
            due = time.monotonic()
            while not over.wait(max(0.0, due - time.monotonic())):
                due += _SAMPLE_SECONDS
                waits.samples += 1
                for kind, event in connection.execute(_WAITS):
                    what = f"{kind} {event}"
                    waits.waiting[what] = waits.waiting.get(what, 0) + 1

    thread = threading.Thread(target=sample, name="waits")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _fleet(on: Servers, count: int, events: int, name: str) -> Fleet:
    waits = Waits()
    with database(on.postgres, name) as url:
        consumed = consume(on, url, events, subscription=name, replicas=count, meanwhile=watched(url, waits))
    return Fleet(count, consumed, waits)


def _share(found: list[Fleet], replicas: int, kind: str) -> float:
    return statistics.median(
        fleet.waits.share(kind, replicas) for fleet in found if fleet.replicas == replicas
    )
