"""Settings of `jobtrail provision`: what it sets up on the broker."""

from pydantic import Field

from settings.broker import BrokerSettings


class ProvisionSettings(BrokerSettings):
    """The topic of the events, and the policies of its Pulsar namespace, which nothing else should use."""

    provision_partitions: int = Field(
        8, ge=1, le=1_000, description="partitions of the topic; their number can grow but never shrink"
    )
    provision_retention_days: int = Field(
        -1,
        ge=-1,
        le=36_500,
        description="how many days the log is kept after both consumers have acknowledged it; -1 = for ever. A rebuild "
        "cannot restore more than this",
    )
    provision_max_unacked_per_consumer: int = Field(
        50_000, ge=1_000, le=10_000_000, description="unacknowledged messages that one consumer may hold"
    )
    provision_max_unacked_per_subscription: int = Field(
        200_000,
        ge=1_000,
        le=100_000_000,
        description="unacknowledged messages that all consumers of a subscription may hold together",
    )
    provision_schema_auto_update: bool = Field(
        True,
        description="whether producers may register compatible schemas; if false, only `provision` registers them",
    )
    provision_subscriptions: tuple[str, ...] = Field(
        ("aggregator", "metrics"), min_length=1, description="subscriptions to create before the first event"
    )
