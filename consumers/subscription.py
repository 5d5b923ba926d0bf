"""Subscribing at the start of a service: a broker that is away, or not provisioned yet, is waited for."""

import structlog

from broker.client import Client, Consumer, subscribe
from broker.receive import is_connected
from consumers.health import Health
from consumers.stop import Pauses, Stop
from schemas.errors import BrokerError
from settings.broker import BrokerSettings

log = structlog.get_logger(__name__)


def subscribe_patiently(
    client: Client,
    settings: BrokerSettings,
    stop: Stop,
    health: Health,
    *,
    name: str,
    batch_messages: int,
    batch_bytes: int,
    batch_wait_seconds: float,
    receiver_queue: int,
    longest_pause_seconds: float,
) -> Consumer | None:
    """The consumer; None when the service was asked to stop before there was one."""
    pauses = Pauses(longest_pause_seconds)
    while not stop.requested:
        health.turned()
        try:
            consumer = subscribe(
                client,
                settings,
                name,
                batch_messages=batch_messages,
                batch_bytes=batch_bytes,
                batch_wait_seconds=batch_wait_seconds,
                receiver_queue=receiver_queue,
            )
        except BrokerError as error:
            pause = pauses.next_seconds()
            health.not_ready("broker", "away")
            log.warning("broker_away", error=str(error), then=f"tries again in {pause:.1f} s")
            stop.wait(pause)
            continue
        health.ready("broker")
        log.info("subscribed", topic=settings.topic, subscription=name)
        return consumer
    return None


def note_wait(health: Health) -> None:
    """The loop waits for the broker within a round: it turns, and the broker is not there."""
    health.turned()
    health.not_ready("broker", "away")


def note_broker(consumer: Consumer, health: Health) -> bool:
    """Say on /readyz whether the broker is there now; it is asked once a round."""
    connected = is_connected(consumer)
    if connected:
        health.ready("broker")
    else:
        health.not_ready("broker", "away")
    return connected
