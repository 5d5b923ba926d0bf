"""How many events one process can hand over by `event()` until all are accepted: by the broker, and by the spool.

`python -m bench.sdk_rate [--events N]`. The caller waits when the queue is full instead of dropping, so the rate is that
of the whole way: event(), encoding, and the broker's acknowledgement or the disk's fsync. The broker's part runs with the
spool on, which takes what the broker is too slow for; how many it took is said. The processor time is the process's own,
all threads, and means something also on a machine that others use.
"""

import argparse
import tempfile
import time
from dataclasses import asdict, dataclass

import jobtrail
from bench.machine import machine
from servers.ports import HOST, free_ports
from servers.pulsar import own_pulsar

EVENTS = 200_000
_QUEUE_EVENTS = 50_000
_FLUSH_SECONDS = 300


@dataclass(frozen=True)
class Rate:
    """What one run found."""

    to: str
    events: int
    seconds: float
    processor_seconds: float
    sent: int
    spooled: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        return (
            f"{self.to:<10}{self.events / self.seconds:>12,.0f}{1e6 * self.processor_seconds / self.events:>16.1f}"
            f"{self.sent:>12,}{self.spooled:>12,}  {self.dropped or 'none'}"
        )


def measure(events: int) -> list[Rate]:
    """Measure with a broker of its own, and with none. Raises RuntimeError when events were not accepted in time."""
    with own_pulsar() as broker:
        up = _rate("broker", broker.url, events)
    (port,) = free_ports(1)
    return [up, _rate("spool", f"pulsar://{HOST}:{port}", events)]


def _rate(to: str, url: str, events: int) -> Rate:
    with tempfile.TemporaryDirectory(dir=".", prefix=".bench-spool-") as directory:
        jobtrail.configure(
            namespace="bench",
            pulsar_url=url,
            topic=f"persistent://public/default/rate-{time.monotonic_ns()}",
            spool_dir=directory,
            spool_max_bytes=2**32,
            queue_max_events=_QUEUE_EVENTS,
            queue_max_bytes=2**30,
            shutdown_timeout_seconds=0,
        )
        _publish(_QUEUE_EVENTS // 5)  # connects, or finds nobody
        before = jobtrail.stats()
        started, processor = time.perf_counter(), time.process_time()
        _publish(events)
        seconds, processor = time.perf_counter() - started, time.process_time() - processor
        after = jobtrail.stats()
        jobtrail.shutdown()
    return Rate(
        to,
        events,
        seconds,
        processor,
        after.sent - before.sent,
        after.spooled - before.spooled,
        after.dropped,
    )


def _publish(events: int) -> None:
    for number in range(events):
        if number % 1_000 == 0:
            while jobtrail.stats().queued > _QUEUE_EVENTS - 2_000:
                time.sleep(0.001)
        jobtrail.event(
            job_id=f"4711-{number}", worker="MovieDetailJob", queue="details", state="completed", attempt=1
        )
    if not jobtrail.flush(_FLUSH_SECONDS):
        raise RuntimeError(f"not accepted within {_FLUSH_SECONDS} s: {jobtrail.stats()}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=EVENTS)
    found = measure(parser.parse_args().events)
    print("\n".join(f"{name}: {value}" for name, value in machine().items()))
    print(f"\n{'to':<10}{'events/s':>12}{'CPU µs an event':>16}{'sent':>12}{'spooled':>12}  dropped")
    print("\n".join(str(rate) for rate in found))


def as_json(found: list[Rate]) -> list[dict[str, object]]:
    """The result as plain data."""
    return [asdict(rate) for rate in found]


if __name__ == "__main__":
    main()
