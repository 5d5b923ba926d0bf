"""Measures what bad messages cost the good ones: the aggregator's rate with a share of messages that are not events.

The same workload is on several topics, without bad messages and with different shares of them among the good ones:
messages that are cut short, have bytes left over, have values that no column can hold, or are random bytes. Only good
events count.
"""

import random
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench.frame import Aim, Bar, Chart, Options, Result, Say
from bench.services import TOPIC, Servers, consume, database, provision_topic, servers
from testing.publish import publish
from testing.workload import Message, messages, recent_start_us

SHARES = (0.0, 0.005, 0.05)
"""Bad messages for each good event."""

AIM_KEPT = {0.005: 0.95, 0.05: 0.75}
"""The share of the rate without bad messages that good events must keep."""

_JOB_MARK = b"bench-production"


@dataclass(frozen=True)
class Rates:
    """The results of `measure`."""

    events: int
    bad: dict[float, int]
    """How many bad messages there were, by share."""
    good_per_second: dict[float, list[float]]
    """Good events per second of each run, by share."""

    def median(self, share: float) -> float:
        """Return the median rate of the runs with this share."""
        return statistics.median(self.good_per_second[share])


def run(options: Options, say: Say) -> Result:
    """Measure, and compare with the rate without bad messages."""
    found = measure(options.jobs, options.repeats, say)
    clean = found.median(0.0)
    aims = [
        Aim(f"good events beside {share:.1%} bad, of the rate without", found.median(share) / clean, aim)
        for share, aim in AIM_KEPT.items()
    ]
    bars = [Bar(f"{share:.1%} bad", found.median(share)) for share in SHARES]
    return Result(table(found), asdict(found), aims, [Chart("Good events beside bad ones", "events/s", bars)])


def measure(jobs: int, repeats: int, say: Say) -> Rates:
    """Publish the workload of ``jobs`` jobs once for each share, and read the topics in turns."""
    workload = messages(jobs, start_us=recent_start_us())
    found = Rates(len(workload), {}, {share: [] for share in SHARES})
    with servers() as on:
        for share in SHARES:
            mixed = with_bad(workload, share)
            found.bad[share] = len(mixed) - len(workload)
            say(f"publishing {len(workload):,} events and {found.bad[share]:,} bad messages")
            provision_topic(on.pulsar, _topic(share))
            publish(on.pulsar.url, _topic(share), mixed)
        for repeat in range(repeats):
            for share in SHARES:
                rate = _run(on, share, len(workload), found.bad[share], repeat)
                found.good_per_second[share].append(rate)
                say(f"  {share:.1%} bad: {rate:,.0f} good events/s")
    return found


def table(found: Rates) -> str:
    """Return the result as a table to read."""
    clean = found.median(0.0)
    lines = [
        f"{found.events:,} good events each time",
        "",
        f"{'bad messages':<24}{'good events/s':>14}{'of the first':>14}",
    ]
    for share in SHARES:
        rate = found.median(share)
        said = f"{share:.1%} ({found.bad[share]:,})"
        lines.append(f"{said:<24}{rate:>14,.0f}{rate / clean:>14.2f}")
    runs = len(found.good_per_second[0.0])
    return "\n".join([*lines, "", f"medians of {runs} runs, in turns"])


def with_bad(workload: Sequence[Message], share: float, seed: int = 1) -> list[Message]:
    """Return the events with a share of bad messages spread among them."""
    chance = random.Random(seed)
    mixed: list[Message] = []
    for message in workload:
        mixed.append(message)
        if chance.random() < share:
            mixed.append(Message(message.key, _spoilt(message.payload, chance)))
    return mixed


def _spoilt(payload: bytes, chance: random.Random) -> bytes:
    """Return the payload broken in one of several ways, all equally likely."""
    ways = (
        lambda: payload[: len(payload) // 2],
        lambda: payload + b"\0",
        lambda: payload.replace(_JOB_MARK, b"bench\0production", 1),
        lambda: b"",
        lambda: chance.randbytes(len(payload)),
    )
    return chance.choice(ways)()


def _run(on: Servers, share: float, good: int, bad: int, repeat: int) -> float:
    name = f"bench_bad_{round(share * 1000)}_{repeat}"
    with database(on.postgres, name) as url:
        consumed = consume(on, url, good + bad, subscription=name, topic=_topic(share))
    return good / consumed.seconds


def _topic(share: float) -> str:
    return f"{TOPIC}-bad-{round(share * 1000)}"
