"""Measures the time from `jobtrail.event()` in a worker to visible in Postgres, at 100, 1,000 and 10,000 events/s.

The worker is a process with the SDK. It notes when it passes each event to the SDK, by the monotonic clock, which all
processes of a machine share. Every event is a new job, so the `xmin` of its row in `jobs` is the transaction that
wrote it. Meanwhile `pg_current_snapshot()`, which reads no table, is queried every 5 ms: the event became visible with
the first snapshot in which that transaction is over. So each time is too long by at most 5 ms and one round trip, and
never too short.

    python -m bench.latency RATE SECONDS     the worker; settings come from the environment
"""

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import psycopg

from bench.frame import Aim, Options, Result, Say
from bench.services import counted, database, environment, merged_environment, provision_topic, servers
from servers.folders import temporary_folder
from testing.services import Service, wait_until

RATES = (100, 1_000, 10_000)
SECONDS = 10
FULL_SECONDS = 60
AIM_RATE = 1_000
AIM_P99_MS = 250.0

_WARM_UP_SECONDS = 2
_POLL_SECONDS = 0.005
_TICK_SECONDS = 0.001
_TOPIC = "persistent://jobtrail/lifecycle/bench-latency"
_NAMESPACE = "latency"


@dataclass(frozen=True)
class Latency:
    """Latencies at one rate in milliseconds, without the first two seconds."""

    events_per_second: int
    achieved_per_second: float
    dropped: int
    """Events that the SDK dropped because its queue was full: the machine cannot reach this rate."""
    events: int
    p50: float
    p99: float
    longest: float


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the aim."""
    found = measure(FULL_SECONDS if options.full else SECONDS, say)
    aims = [
        Aim(f"p99 at {AIM_RATE:,} events/s", one.p99, AIM_P99_MS, " ms", at_most=True)
        for one in found
        if one.events_per_second == AIM_RATE
    ]
    return Result(table(found), as_json(found), aims)


def measure(seconds: int, say: Say) -> list[Latency]:
    """Measure each rate for ``seconds``, one after the other, on one aggregator with default settings."""
    found = []
    with servers() as on, temporary_folder("jobtrail-bench-") as folder:
        provision_topic(on.pulsar, _TOPIC)
        with database(on.postgres, "bench_latency") as url:
            settings = environment(on.pulsar, url, _TOPIC)
            running = Service("aggregate", settings, folder / "log")
            try:
                running.wait_ready()
                for rate in RATES:
                    say(f"{rate:,} events/s for {seconds} s")
                    found.append(_at(rate, seconds, settings, url, running))
                    say(f"  p50 {found[-1].p50:.0f} ms, p99 {found[-1].p99:.0f} ms")
                running.stop()
            finally:
                if running.process.poll() is None:
                    running.kill()
    return found


def table(found: list[Latency]) -> str:
    """Return the result as a table to read."""
    lines = [
        "from event() in a worker to visible in Postgres; each time is too long by at most 5 ms and a round trip",
        "",
        f"{'events/s':>10}{'achieved':>11}{'dropped':>9}{'events':>10}{'p50':>9}{'p99':>9}{'longest':>10}",
    ]
    lines += [
        f"{one.events_per_second:>10,}{one.achieved_per_second:>11,.0f}{one.dropped:>9,}{one.events:>10,}"
        f"{one.p50:>6.0f} ms{one.p99:>6.0f} ms{one.longest:>7.0f} ms"
        for one in found
    ]
    return "\n".join(lines)


def as_json(found: list[Latency]) -> dict[str, object]:
    """Return the result as plain data."""
    return {"rates": [asdict(one) for one in found]}


def _at(rate: int, seconds: int, settings: dict[str, str], url: str, running: Service) -> Latency:
    before = counted(running)
    with _snapshots(url) as seen, temporary_folder("jobtrail-bench-spool-") as state:  # the SDK's spool
        worker = subprocess.run(
            [sys.executable, "-m", "bench.latency", str(rate), str(seconds + _WARM_UP_SECONDS)],
            env=merged_environment(
                {**settings, "JOBTRAIL_NAMESPACE": _NAMESPACE, "XDG_STATE_HOME": str(state)}
            ),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        said: list[float | None] = json.loads(worker.stdout.splitlines()[-1])
        handed_over = {number: at for number, at in enumerate(said) if at is not None}
        wait_until(lambda: counted(running) >= before + len(handed_over), "every event", running.end_of_log)
        time.sleep(10 * _POLL_SECONDS)  # so that a last snapshot shows every event
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT job_id, xmin::text::bigint FROM jobtrail.jobs WHERE namespace = %s AND worker = %s",
            [_NAMESPACE, f"Rate{rate}Job"],
        ).fetchall()
    visible = _visible_at({xmin for _, xmin in rows}, seen)
    waits = sorted(
        (visible[xmin] - handed_over[number]) * 1000
        for job_id, xmin in rows
        if (number := int(job_id.rsplit("-", 1)[1])) >= rate * _WARM_UP_SECONDS
    )
    assert len(rows) == len(handed_over), f"expected {len(handed_over)} jobs, found {len(rows)}"
    achieved = (len(handed_over) - 1) / (max(handed_over.values()) - min(handed_over.values()))
    quantiles = statistics.quantiles(waits, n=100)
    return Latency(
        rate,
        achieved,
        len(said) - len(handed_over),
        len(waits),
        statistics.median(waits),
        quantiles[98],
        waits[-1],
    )


@contextmanager
def _snapshots(url: str) -> Iterator[list[tuple[float, str]]]:
    """Yield a list of times and snapshots, filled while the block runs; repeated snapshots are left out."""
    seen: list[tuple[float, str]] = []
    over = threading.Event()

    def poll() -> None:
        with psycopg.connect(url, autocommit=True, application_name="bench") as connection:
            while not over.wait(_POLL_SECONDS):
                row = connection.execute("SELECT pg_current_snapshot()::text").fetchone()
                assert row is not None
                if not seen or seen[-1][1] != row[0]:
                    seen.append((time.monotonic(), row[0]))

    thread = threading.Thread(target=poll, name="snapshots")
    thread.start()
    try:
        yield seen
    finally:
        over.set()
        thread.join()


def _visible_at(transactions: set[int], seen: list[tuple[float, str]]) -> dict[int, float]:
    """Return when each transaction was first seen to be over.

    A snapshot is `xmin:xmax:running,running`; the ids of a new database do not wrap around.
    """
    found: dict[int, float] = {}
    waiting = set(transactions)
    for at, text in seen:
        _, ahead, running = text.split(":")
        under_way = {int(one) for one in running.split(",") if one}
        over = {one for one in waiting if one < int(ahead) and one not in under_way}
        found.update(dict.fromkeys(over, at))
        waiting -= over
    assert not waiting, f"{len(waiting)} transactions were never seen to end"
    return found


def _work(rate: int, seconds: int) -> None:
    """Make events evenly at the rate, and print when: seconds of the monotonic clock, null for dropped events."""
    import jobtrail

    handed_over: list[float | None] = []
    name = f"rate-{rate}-{time.time_ns()}"
    began = time.monotonic()
    while len(handed_over) < rate * seconds:
        due = min(rate * seconds, int((time.monotonic() - began) * rate) + 1)
        for number in range(len(handed_over), due):
            at = time.monotonic()
            taken = jobtrail.event(
                job_id=f"{name}-{number}", worker=f"Rate{rate}Job", queue="bench", state="completed"
            )
            handed_over.append(at if taken else None)
        time.sleep(_TICK_SECONDS)
    assert jobtrail.flush(60), jobtrail.stats()
    print(json.dumps(handed_over))


if __name__ == "__main__":
    _work(int(sys.argv[1]), int(sys.argv[2]))
