"""What every consuming service reads: the broker, its subscription, and when a service that gets nothing ends itself."""

from dataclasses import dataclass

from pydantic import Field

from settings.broker import BrokerSettings


@dataclass(frozen=True)
class Subscription:
    """How one service reads its subscription: the settings that each service has under a prefix of its own."""

    name: str
    batch_events: int
    batch_bytes: int
    batch_wait_seconds: float
    receiver_queue: int
    """Most messages fetched ahead."""
    receiver_queue_bytes: int
    retry_longest_seconds: float


class ConsumerSettings(BrokerSettings):
    """The broker, and the watchdog."""

    watchdog_seconds: float = Field(
        120,
        ge=0,
        le=86_400,
        description="a consumer to which the broker delivers nothing for so long, although messages wait for it, ends "
        "with status 1; needs the admin REST; 0 is never",
    )

    @property
    def subscription(self) -> Subscription:
        """The service's subscription. Each service's settings say which of their fields make it."""
        raise NotImplementedError
