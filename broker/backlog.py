"""What waits in a subscription, and what the broker thinks of this process's consumer: asked of the admin REST.

A role that may consume may ask this. An entry is what a publisher's client sent at once: one message, or up to 1,000.
"""

from typing import Any, NamedTuple

from broker.admin import admin
from broker.client import consumer_name
from schemas.errors import BrokerError
from settings.broker import BrokerSettings


class OwnConsumer(NamedTuple):
    """This process's consumer of one partition, as the broker sees it."""

    permits: int
    """Messages that it asked for and has not been given."""
    unacknowledged: int
    """Messages that it was given and has not acknowledged."""
    blocked: bool
    """It may get no more before it acknowledges some."""


class PartitionBacklog(NamedTuple):
    """One partition of the subscription."""

    partition: str
    entries: int
    """Not acknowledged, delivered or not; without those that are to be delivered later."""
    delivered: int
    """Messages given to any consumer since the partition was loaded."""
    held_by_others: int
    """Messages that other consumers were given and have not acknowledged."""
    blocked: bool
    """Nobody gets any more before somebody acknowledges some."""
    own: OwnConsumer | None
    """None: the broker does not know of this process's consumer."""


def backlog(settings: BrokerSettings, subscription: str, timeout_seconds: float) -> list[PartitionBacklog]:
    """Every loaded partition of the topic. Raises BrokerError when that cannot be asked, or there is no such subscription."""
    path = settings.topic.replace("://", "/", 1)
    with admin(settings, timeout_seconds) as broker:
        stats = broker.get(f"/{path}/partitioned-stats?perPartition=true&getPreciseBacklog=true")
    if stats is None or subscription not in stats["subscriptions"]:
        raise BrokerError(
            f"the broker knows no subscription {subscription!r} of {settings.topic}: run `jobtrail provision`."
        )
    name = consumer_name()
    return [
        _partition(partition.rsplit("/", 1)[-1], found["subscriptions"][subscription], name)
        for partition, found in stats["partitions"].items()
        if subscription in found["subscriptions"]
    ]


def _partition(partition: str, said: dict[str, Any], name: str) -> PartitionBacklog:
    own = [consumer for consumer in said["consumers"] if consumer["consumerName"] == name]
    return PartitionBacklog(
        partition=partition,
        entries=said.get("msgBacklogNoDelayed", said["msgBacklog"]),
        delivered=said["msgOutCounter"],
        held_by_others=sum(
            consumer["unackedMessages"] for consumer in said["consumers"] if consumer["consumerName"] != name
        ),
        blocked=said["blockedSubscriptionOnUnackedMsgs"],
        own=OwnConsumer(
            permits=own[0]["availablePermits"],
            unacknowledged=own[0]["unackedMessages"],
            blocked=own[0]["blockedConsumerOnUnackedMsgs"],
        )
        if own
        else None,
    )
