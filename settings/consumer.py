"""What every consumer of a subscription reads: the broker, and when one that gets nothing is to end itself."""

from pydantic import Field

from settings.broker import BrokerSettings


class ConsumerSettings(BrokerSettings):
    """The broker, and the watchdog."""

    watchdog_seconds: float = Field(
        120,
        ge=0,
        le=86_400,
        description="a consumer to which the broker delivers nothing for so long, although messages wait for it, ends "
        "with status 1; needs the admin REST; 0 is never",
    )
