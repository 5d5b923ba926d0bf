"""Settings of every consuming service: the broker, its subscription, and when a service that receives nothing exits."""

from dataclasses import dataclass

from pydantic import Field

from settings.broker import BrokerSettings


@dataclass(frozen=True)
class Subscription:
    """How one service reads its subscription: settings that each service has under its own prefix."""

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
        description="a consumer exits with status 1 when the broker delivers nothing to it for this long although messages "
        "wait; needs the admin REST; 0 = never",
    )

    @property
    def subscription(self) -> Subscription:
        """The service's subscription, made from its own fields."""
        raise NotImplementedError
