"""Subscribes at the start of a service and after a long outage. Waits while the broker is away."""

import time
from collections.abc import Callable

import structlog

from broker.client import Client, Consumer, subscribe
from broker.reach import check_reachable
from broker.receive import is_connected
from consumers.process.health import Health
from consumers.process.outage import OutageLog
from consumers.process.stop import Pauses, Stop
from schemas.errors import BrokerError
from settings.broker import BrokerSettings
from settings.consumer import ConsumerSettings

log = structlog.get_logger(__name__)

_LIBRARY_SECONDS = 2.0
"""How long the library may try to reconnect by itself, once the port is open. After a short outage it needs less."""
_PROBE_EVERY_SECONDS = 1.0


def subscribe_patiently(
    client: Client,
    settings: ConsumerSettings,
    stop: Stop,
    health: Health,
    outage: OutageLog,
    receiver_queue: int,
) -> Consumer | None:
    """Return the consumer; None if the service was asked to stop before it could subscribe.

    ``receiver_queue``: how many messages to fetch ahead, limited by the settings.
    """
    subscription = settings.subscription
    pauses = Pauses(subscription.retry_longest_seconds)
    while not stop.requested:
        health.turned()
        try:
            check_reachable(settings)
            consumer = subscribe(
                client,
                settings,
                subscription.name,
                batch_messages=subscription.batch_events,
                batch_bytes=subscription.batch_bytes,
                batch_wait_seconds=subscription.batch_wait_seconds,
                receiver_queue=receiver_queue,
            )
        except BrokerError as error:
            health.not_ready("broker", "away")
            outage.failed(str(error))
            stop.wait(pauses.next_seconds())
            continue
        health.ready("broker")
        outage.ended()
        log.info("subscribed", topic=settings.topic, subscription=subscription.name)
        return consumer
    return None


class Reconnection:
    """Decides when to replace the client instead of waiting for the library to reconnect.

    The library reconnects by itself, but in a long outage its pauses grow to a minute. So we try the broker's port once a
    second. When the port opens, the library has a few seconds; then the caller makes a new client.
    """

    def __init__(self, settings: BrokerSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._probe_at = 0.0
        self._open_since: float | None = None

    def due(self, connected: bool) -> bool:
        """Return True if the broker has been reachable for a while, but the library is still not connected. Call once a round."""
        if connected:
            self._probe_at, self._open_since = 0.0, None
            return False
        now = self._clock()
        if now < self._probe_at:
            return False
        try:
            check_reachable(self._settings)
        except BrokerError:
            self._open_since = None
        else:
            if self._open_since is None:
                self._open_since = now
        self._probe_at = self._clock() + _PROBE_EVERY_SECONDS
        if self._open_since is None or now - self._open_since < _LIBRARY_SECONDS:
            return False
        log.warning(
            "not_connected_again",
            means="the broker's port is open, and Pulsar's client has not connected to it",
            then="makes a new client; unacknowledged messages are delivered again",
        )
        return True


def report_wait(health: Health) -> None:
    """Record that the loop waits for the broker within a round: the loop is alive, the broker is away."""
    health.turned()
    health.not_ready("broker", "away")


def report_broker(consumer: Consumer, health: Health, outage: OutageLog) -> bool:
    """Return whether the broker is connected, and show it on /readyz and in the log. Call once a round."""
    connected = is_connected(consumer)
    if connected:
        health.ready("broker")
        outage.ended()
    else:
        health.not_ready("broker", "away")
        outage.failed("the connection to the broker was lost")
    return connected
