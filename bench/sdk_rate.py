"""Measures how many events per second one process can publish by `event()`: through the broker, and through the spool.

When the queue is full, the caller waits instead of dropping events, so the rate is that of the whole way: event(),
encoding, and the broker's acknowledgement or the disk's fsync.

    broker          without a spool: only the broker accepts events
    broker, spool   with a spool, which takes the events that the broker is too slow for; the table says how many
    spool           the broker is away
    spool, drained  the events in the spool, sent by the next sender when the broker is back

The CPU time is that of the whole process, all threads, and is meaningful even on a shared machine.
"""

import time
from dataclasses import asdict, dataclass
from pathlib import Path

import jobtrail
from bench.frame import Aim, Options, Result, Say
from servers.folders import temporary_folder
from servers.pulsar import own_pulsar

EVENTS = 200_000
AIM_RATE = 60_000
WARM_UP_EVENTS = 100_000
_QUEUE_EVENTS = 50_000
_FLUSH_SECONDS = 300


@dataclass(frozen=True)
class Rate:
    """The result of one run."""

    to: str
    events: int
    seconds: float
    processor_seconds: float
    sent: int
    spooled: int
    dropped: dict[str, int]

    def __str__(self) -> str:
        return (
            f"{self.to:<16}{self.events / self.seconds:>10,.0f}{1e6 * self.processor_seconds / self.events:>18.1f}"
            f"{self.sent:>12,}{self.spooled:>12,}  {self.dropped or 'none'}"
        )


def run(_options: Options, say: Say) -> Result:
    """Measure, and compare with the aim. The last way has none, because it encodes nothing."""
    say(f"{EVENTS:,} events each way")
    found = measure(EVENTS)
    lines = [
        f"{'to':<16}{'events/s':>10}{'CPU µs an event':>18}{'sent':>12}{'spooled':>12}  dropped",
        *map(str, found),
    ]
    aims = [
        Aim(f"to the {rate.to}", rate.events / rate.seconds, AIM_RATE, " events/s") for rate in found[:-1]
    ]
    return Result("\n".join(lines), {"rates": [asdict(rate) for rate in found]}, aims)


def measure(events: int) -> list[Rate]:
    """Measure on a new broker. Raises RuntimeError when events were not accepted in time."""
    with (
        own_pulsar() as broker,
        temporary_folder(".bench-spool-", Path()) as directory,
    ):
        _configure(broker.url, "")
        _publish(WARM_UP_EVENTS)  # lets Java's compilers finish
        found = [_rate("broker", events)]
        _configure(broker.url, str(directory))
        _publish(WARM_UP_EVENTS)
        found.append(_rate("broker, spool", events))
        _drain()
        broker.stop()
        _configure(broker.url, str(directory))
        _publish(WARM_UP_EVENTS)  # the broker is away
        found.append(_rate("spool", events))
        broker.start()
        _configure(broker.url, "")
        _publish(WARM_UP_EVENTS)
        _configure(broker.url, str(directory))
        _publish(1)  # connects
        found.append(_drain())
        jobtrail.shutdown()
    return found


def _configure(url: str, spool: str) -> None:
    jobtrail.configure(
        namespace="bench",
        pulsar_url=url,
        topic="persistent://public/default/rate",
        spool=spool != "",
        spool_dir=spool,
        spool_max_bytes=2**32,
        queue_max_events=_QUEUE_EVENTS,
        queue_max_bytes=2**30,
        shutdown_timeout_seconds=0,
    )


def _rate(to: str, events: int) -> Rate:
    before = jobtrail.stats()
    started, processor = time.perf_counter(), time.process_time()
    _publish(events)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    after = jobtrail.stats()
    return Rate(
        to,
        events,
        seconds,
        processor,
        after.sent - before.sent,
        after.spooled - before.spooled,
        after.dropped,
    )


def _drain() -> Rate:
    """Wait until all events in the spool are sent."""
    before = jobtrail.stats().sent_from_spool
    started, processor = time.perf_counter(), time.process_time()
    while (now := jobtrail.stats()).sent_from_spool < now.spooled:
        if time.perf_counter() - started > _FLUSH_SECONDS:
            raise RuntimeError(f"not sent within {_FLUSH_SECONDS} s: {now}")
        time.sleep(0.01)
    seconds, processor = time.perf_counter() - started, time.process_time() - processor
    sent = now.sent_from_spool - before
    return Rate("spool, drained", sent, seconds, processor, sent, 0, {})


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
