"""Settings of the aggregator: the size of its batches, and how long it waits."""

from pydantic import Field

from settings.consumer import ConsumerSettings, Subscription
from settings.database import DatabaseSettings
from settings.retention import RetentionSettings
from settings.service import ServiceSettings


class AggregatorSettings(ConsumerSettings, DatabaseSettings, RetentionSettings, ServiceSettings):
    """All settings of `jobtrail aggregate`."""

    aggregator_port: int = Field(
        9464, ge=0, le=65535, description="port of /healthz, /readyz and /metrics; 0 = any free port"
    )
    aggregator_subscription: str = Field("aggregator", min_length=1, description="name of the subscription")
    aggregator_batch_events: int = Field(
        10_000, ge=1, le=50_000, description="most events in one transaction"
    )
    aggregator_batch_bytes: int = Field(
        32 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="most bytes of payload in one transaction",
    )
    aggregator_batch_wait_seconds: float = Field(
        0.1,
        gt=0,
        le=10,
        description="longest wait for a batch to fill; when there are few events, this is most of their delay",
    )
    aggregator_receiver_queue: int = Field(
        40_000,
        ge=1,
        le=200_000,
        description="messages fetched ahead; keep it below the broker's limits on unacknowledged messages",
    )
    aggregator_receiver_queue_bytes: int = Field(
        128 * 1024 * 1024,
        ge=1024 * 1024,
        le=16 * 1024 * 1024 * 1024,
        description="most bytes fetched ahead, estimated from the mean size of recent messages; never fewer than 64 messages",
    )
    aggregator_retry_longest_seconds: float = Field(
        5,
        gt=0,
        le=300,
        description="longest pause between two attempts to reach a broker or database that does not answer",
    )

    @property
    def subscription(self) -> Subscription:
        """How this service reads its subscription."""
        return Subscription(
            self.aggregator_subscription,
            self.aggregator_batch_events,
            self.aggregator_batch_bytes,
            self.aggregator_batch_wait_seconds,
            self.aggregator_receiver_queue,
            self.aggregator_receiver_queue_bytes,
            self.aggregator_retry_longest_seconds,
        )
