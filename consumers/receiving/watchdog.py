"""Ends a consumer that receives nothing although messages wait for it, so that its supervisor starts it again.

Some versions of pulsar-client do not subscribe again after a connection went dead: the service looks healthy but receives
nothing, for ever. So we ask the broker three times within the limit what waits and what it knows about this consumer, and
compare each answer with the previous one. These are not reasons to end: a database that is away (then the loop waits, or a
batch is in flight), a broker that is away, a backlog that other replicas hold or that is to be delivered later, an admin
REST that does not answer. A separate thread asks, so that no event is delayed.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import structlog

from broker.backlog import PartitionBacklog, backlog
from schemas.errors import BrokerError, JobtrailError
from settings.consumer import ConsumerSettings

log = structlog.get_logger(__name__)

STATUS = 1
"""Not 2, which means that a restart does not help."""

_LOOKS_WITHIN_LIMIT = 3
_ANSWER_TIMEOUT_SECONDS = 5.0
_LONGEST_ROUND_SECONDS = 5.0
"""A longer round waited for something (a database, a schema), so earlier observations prove nothing."""


class DeliveryStoppedError(JobtrailError):
    """The broker has messages for this consumer but delivers none. A new process cures it."""


@dataclass(frozen=True)
class Observation:
    """The broker's answer at one time."""

    at: float
    partitions: Mapping[str, PartitionBacklog]


class Watchdog:
    """Watches every round of the loop, called by the receiving thread. Raises when the time is up."""

    def __init__(
        self,
        settings: ConsumerSettings,
        subscription: str,
        ask: Callable[[], Iterable[PartitionBacklog]] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``ask`` returns what waits, or raises BrokerError; by default it asks the broker's admin REST."""
        self._limit = settings.watchdog_seconds
        # A broker without a registry (pulsar-lite) has no admin REST either.
        self._is_on = self._limit > 0 and settings.schema_registry == "broker"
        self._every = self._limit / _LOOKS_WITHIN_LIMIT
        self._ask = ask or partial(
            backlog, settings, subscription, min(_ANSWER_TIMEOUT_SECONDS, max(1.0, self._every))
        )
        self._clock = clock
        self._asker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="watchdog")
        self._blind = False
        self._turned_at = self._busy_at = clock()
        self._look_at = self._turned_at + self._every
        self._last: Observation | None = None
        self._since: dict[str, float] = {}
        self._asked: Future[Observation] | None = None

    def turned(self, *, idle: bool, connected: bool) -> None:
        """Record a finished round. ``idle``: it received nothing, and this process holds no message.

        Raises DeliveryStoppedError when messages waited for longer than the limit and none was delivered.
        """
        if not self._is_on:
            return
        now = self._clock()
        if not connected or now - self._turned_at > _LONGEST_ROUND_SECONDS:
            self._forget()
        self._turned_at = now
        if not idle:
            self._busy_at = now
        if self._asked is not None and self._asked.done():
            answer, self._asked = self._asked, None
            self._take(answer)
        if self._asked is None and now >= self._look_at:
            self._look_at = now + self._every
            self._asked = self._asker.submit(self._observe)

    def close(self) -> None:
        """End the thread, without waiting for an outstanding answer."""
        self._asker.shutdown(wait=False, cancel_futures=True)

    def _forget(self) -> None:
        """Start over: only observations within one uninterrupted time can be compared."""
        now = self._clock()
        self._last, self._since, self._asked = None, {}, None
        self._busy_at = now
        self._look_at = now + self._every

    def _observe(self) -> Observation:
        at = self._clock()
        return Observation(at, {found.partition: found for found in self._ask()})

    def _take(self, answer: "Future[Observation]") -> None:
        try:
            look = answer.result()
        except BrokerError as error:
            self._last, self._since = None, {}
            if not self._blind:
                log.warning(
                    "watchdog_blind",
                    error=str(error),
                    means="messages that wait but are not delivered cannot be detected",
                    then="continues, and asks again; set JOBTRAIL_PULSAR_ADMIN_URL, or JOBTRAIL_WATCHDOG_SECONDS=0",
                )
            self._blind = True
            return
        self._blind = False
        before, self._last = self._last, look
        if before is None:
            return
        reasons = stalled(before, look, was_idle=self._busy_at < before.at)
        self._since = {partition: self._since.get(partition, before.at) for partition in reasons}
        for partition, reason in reasons.items():
            seconds = look.at - self._since[partition]
            if seconds >= self._limit:
                raise DeliveryStoppedError(f"{partition}: {reason}, for {seconds:.0f} s")


def log_stopped(error: DeliveryStoppedError) -> int:
    """Log the last line, and return the exit status."""
    log.error(
        "delivery_stopped",
        seen=str(error),
        means="the subscription was lost on the way, or the broker holds delivery back (its policies, its log)",
        then=f"exits with status {STATUS}, so that its supervisor starts it again; nothing is lost",
    )
    return STATUS


def stalled(before: Observation, now: Observation, *, was_idle: bool) -> dict[str, str]:
    """Return the partitions where messages wait and none was delivered between two observations, each with the reason.

    ``was_idle``: this process received nothing between them and held no message.
    """
    found = {}
    for name, partition in now.partitions.items():
        earlier = before.partitions.get(name)
        if earlier is not None and partition.entries > 0 and earlier.entries > 0:
            reason = _reason(earlier, partition, was_idle=was_idle)
            if reason is not None:
                found[name] = reason
    return found


def _reason(before: PartitionBacklog, now: PartitionBacklog, *, was_idle: bool) -> str | None:
    waits = f"{now.entries:,} entries wait"
    if now.own_consumer is None or before.own_consumer is None:
        both = now.own_consumer is None and before.own_consumer is None
        return f"{waits}, and the broker does not know of this consumer" if both else None
    if was_idle and now.own_consumer.unacknowledged > 0 and before.own_consumer.unacknowledged > 0:
        return (
            f"{waits}, and the broker believes that this process holds {now.own_consumer.unacknowledged:,} messages, "
            "which it never received"
        )
    if now.delivered != before.delivered:
        return None
    if now.blocked or not (_undelivered(before) and _undelivered(now)):
        return None  # other consumers hold it: it is delivered when they acknowledge or end
    if now.own_consumer.permits > 0 and before.own_consumer.permits > 0 and not now.own_consumer.blocked:
        return f"{waits}, and none is delivered although this consumer asked for {now.own_consumer.permits:,} messages"
    if was_idle:
        return f"{waits}, and none is delivered although this process holds none"
    return None


def _undelivered(partition: PartitionBacklog) -> bool:
    """Return whether an entry is certainly undelivered: an entry has at least one message, so there are never more entries
    delivered than messages held."""
    held = partition.held_by_others + (partition.own_consumer.unacknowledged if partition.own_consumer else 0)
    return partition.entries > held
