"""Reads from the admin REST what waits in a subscription, and what the broker knows about this process's consumer.

A role that may consume may read this. An entry is what a publisher's client sent at once: one message, or up to 1,000.
"""

from typing import Any, NamedTuple

from broker.admin import admin
from broker.client import consumer_name
from schemas.errors import BrokerError
from settings.broker import BrokerSettings


class OwnConsumer(NamedTuple):
    """This process's consumer of one partition, as the broker sees it."""

    permits: int
    """Messages that it asked for but has not received."""
    unacknowledged: int
    """Messages that it received but has not acknowledged."""
    blocked: bool
    """Whether it gets no more messages until it acknowledges some."""


class PartitionBacklog(NamedTuple):
    """One partition of the subscription."""

    partition: str
    entries: int
    """Entries that are not acknowledged, delivered or not, without delayed ones."""
    delivered: int
    """Messages sent to any consumer since the broker loaded the partition."""
    held_by_others: int
    """Messages that other consumers received but have not acknowledged."""
    blocked: bool
    """Whether no consumer gets more messages until one of them acknowledges some."""
    own_consumer: OwnConsumer | None
    """None if the broker does not know this process's consumer."""


def backlog(settings: BrokerSettings, subscription: str, timeout_seconds: float) -> list[PartitionBacklog]:
    """Return every loaded partition of the topic. Raises BrokerError when the broker does not answer or the subscription does not exist."""
    path = settings.topic.replace("://", "/", 1)
    with admin(settings, timeout_seconds) as broker:
        stats = broker.get(f"/{path}/partitioned-stats?perPartition=true&getPreciseBacklog=true")
    if stats is None or subscription not in stats["subscriptions"]:
        raise BrokerError(
            f"the broker has no subscription {subscription!r} for {settings.topic}: run `jobtrail provision`."
        )
    name = consumer_name()
    return [
        _partition(partition.rsplit("/", 1)[-1], found["subscriptions"][subscription], name)
        for partition, found in stats["partitions"].items()
        if subscription in found["subscriptions"]
    ]


def _partition(partition: str, said: dict[str, Any], name: str) -> PartitionBacklog:
    ours = [consumer for consumer in said["consumers"] if consumer["consumerName"] == name]
    return PartitionBacklog(
        partition=partition,
        entries=said.get("msgBacklogNoDelayed", said["msgBacklog"]),
        delivered=said["msgOutCounter"],
        held_by_others=sum(
            consumer["unackedMessages"] for consumer in said["consumers"] if consumer["consumerName"] != name
        ),
        blocked=said["blockedSubscriptionOnUnackedMsgs"],
        own_consumer=OwnConsumer(
            permits=ours[0]["availablePermits"],
            unacknowledged=ours[0]["unackedMessages"],
            blocked=ours[0]["blockedConsumerOnUnackedMsgs"],
        )
        if ours
        else None,
    )
