"""Measures the memory of both consumers over a long stream: 5·10⁵ events, with --full 10⁷. It must stay flat.

A small workload is published again and again with new job ids, made during the run, and only slightly ahead of the
consumers: neither the bench nor the broker (retention 0) holds the whole stream.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass

import psutil

from bench.frame import Aim, Options, Result, Say
from bench.services import RUN_SECONDS, counted, database, environment, servers
from broker import provision
from broker.admin import admin
from servers.folders import temporary_folder
from settings.provision import ProvisionSettings
from testing.publish import publish
from testing.services import Service, wait_until
from testing.workload import Message, messages, recent_start_us

EVENTS = 500_000
FULL_EVENTS = 10_000_000
AIM_MB_PER_MILLION = 1.0
AIM_MAXIMUM_MB = {"aggregate": 300.0, "metrics": 200.0}

_TEMPLATE_JOBS = 10_000  # ids 10000000 to 10009999: the first four digits differ in each round
_AHEAD = 150_000
_SAMPLE_EVERY_EVENTS = 10_000
_MB = 1_000_000
_TOPIC = "persistent://jobtrail/lifecycle/bench-memory"


@dataclass(frozen=True)
class Sample:
    """The resident memory of one process at one time."""

    events: float
    megabytes: float


@dataclass(frozen=True)
class Memory:
    """The samples of one consumer."""

    command: str
    samples: list[Sample]

    @property
    def maximum(self) -> float:
        """Megabytes."""
        return max(sample.megabytes for sample in self.samples)

    @property
    def slope(self) -> float:
        """Megabytes per 10⁶ events, by least squares over the last 80 % of the events."""
        last = [one for one in self.samples if one.events >= self.samples[-1].events * 0.2]
        fitted = statistics.linear_regression(
            [one.events / 1e6 for one in last], [one.megabytes for one in last]
        )
        return fitted.slope


@dataclass(frozen=True)
class Found:
    """The results of `measure`."""

    events: int
    consumers: list[Memory]


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the aims. A short stream has no aim: its slope is mostly the filling of caches."""
    found = measure(FULL_EVENTS if options.full else EVENTS, say)
    aims = []
    for one in found.consumers:
        name = f"jobtrail {one.command}"
        aims.append(
            Aim(f"{name}, most memory", one.maximum, AIM_MAXIMUM_MB[one.command], " MB", at_most=True)
        )
        if options.full:
            what = f"{name}, growth over the last 80 %"
            aims.append(Aim(what, one.slope, AIM_MB_PER_MILLION, " MB per 10⁶ events", at_most=True))
    return Result(table(found), as_json(found), aims)


def measure(events: int, say: Say) -> Found:
    """Run both consumers at once on one topic, until each has consumed this many events."""
    with servers() as on, database(on.postgres, "bench_memory") as url, ExitStack() as stack:
        settings = ProvisionSettings.load(
            pulsar_url=on.pulsar.url, pulsar_admin_url=on.pulsar.admin_url, topic=_TOPIC
        )
        provision.run(settings, check=False)
        with admin(settings) as broker:  # deletes messages that both have acknowledged
            nothing = {"retentionTimeInMinutes": 0, "retentionSizeInMB": 0}
            broker.post("/namespaces/jobtrail/lifecycle/retention", nothing)
        folder = stack.enter_context(temporary_folder("jobtrail-bench-"))
        running = {}
        for command in AIM_MAXIMUM_MB:
            service = Service(command, environment(on.pulsar, url, _TOPIC), folder / command)
            stack.callback(_kill, service)
            service.wait_ready()
            running[command] = service
        samples: dict[str, list[Sample]] = {command: [] for command in running}

        def look() -> float:
            """Take a sample of each; return how many events the slower one has consumed."""
            done = []
            for command, service in running.items():
                resident = psutil.Process(service.process.pid).memory_info().rss / _MB
                done.append(counted(service, command))
                samples[command].append(Sample(done[-1], resident))
            return min(done)

        say(f"{events:,} events")
        publish(on.pulsar.url, _TOPIC, _paced(events, look, say))
        wait_until(lambda: look() >= events, "every event", deadline_seconds=RUN_SECONDS, poll_seconds=0.5)
        for service in running.values():
            service.stop()
    return Found(events, [Memory(command, taken) for command, taken in samples.items()])


def table(found: Found) -> str:
    """Return the result as a table to read."""
    lines = [
        f"{found.events:,} events, both consumers on one topic",
        "",
        f"{'consumer':<22}{'at 20 %':>10}{'at the end':>12}{'most':>10}   growth over the last 80 %",
    ]
    for one in found.consumers:
        early = next(sample for sample in one.samples if sample.events >= found.events * 0.2)
        lines.append(
            f"{'jobtrail ' + one.command:<22}{early.megabytes:>7.0f} MB{one.samples[-1].megabytes:>9.0f} MB"
            f"{one.maximum:>7.0f} MB   {one.slope:.2f} MB per 10⁶ events"
        )
    return "\n".join(lines)


def as_json(found: Found) -> dict[str, object]:
    """Return the result as plain data, with the slopes."""
    return {**asdict(found), "slopes": {one.command: one.slope for one in found.consumers}}


def _paced(events: int, look: Callable[[], float], say: Say) -> Iterator[Message]:
    """Yield messages, only a few ahead of the slower consumer."""
    done = 0.0
    for sent, message in enumerate(_stream(events)):
        if sent % _SAMPLE_EVERY_EVENTS == 0:
            done = look()
            while sent - done > _AHEAD:
                time.sleep(0.2)
                done = look()
            if sent and sent % 1_000_000 == 0:
                say(f"  {sent:,} events sent")
        yield message


def _stream(events: int) -> Iterator[Message]:
    template = messages(_TEMPLATE_JOBS, start_us=recent_start_us())
    made = 0
    for number in range(1000, 10_000):
        digits = str(number)
        said = digits.encode()
        for message in template:
            if made == events:
                return
            made += 1
            # A new prefix of the same length keeps the encoding valid; other values with these digits change as well.
            yield Message(digits + message.key[4:], message.payload.replace(b"1000", said))


def _kill(running: Service) -> None:
    if running.process.poll() is None:
        running.kill()
