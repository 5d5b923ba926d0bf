"""What `jobtrail provision` sets up on the broker."""

from pydantic import Field

from settings.broker import BrokerSettings


class ProvisionSettings(BrokerSettings):
    """The topic of the events and the policies of its Pulsar namespace, which is to be jobtrail's alone."""

    provision_partitions: int = Field(
        8, ge=1, le=1_000, description="partitions of the topic; it grows to this number and never shrinks"
    )
    provision_retention_days: int = Field(
        -1,
        ge=-1,
        le=36_500,
        description="how long the log is kept after both consumers took it, in days; -1 is for ever. A rebuild can "
        "bring back no more than this",
    )
    provision_max_unacked_per_consumer: int = Field(
        50_000, ge=1_000, le=10_000_000, description="messages one consumer may hold unacknowledged"
    )
    provision_max_unacked_per_subscription: int = Field(
        200_000,
        ge=1_000,
        le=100_000_000,
        description="messages all consumers of a subscription may hold together",
    )
    provision_schema_auto_update: bool = Field(
        True,
        description="whether a producer may register a compatible schema by itself; false leaves that to `provision`",
    )
    provision_subscriptions: tuple[str, ...] = Field(
        ("aggregator", "metrics"), min_length=1, description="subscriptions that exist before the first event"
    )
