"""The metrics consumer's own metrics: how far it is behind, and whether it reaches the broker."""

import time
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from broker.client import Message


class ServiceMetrics:
    """The metrics of one metrics consumer process."""

    def __init__(self, registry: CollectorRegistry, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counted_up_to = clock()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        lag = Gauge(
            "jobtrail_metrics_lag_seconds",
            "Age of the last message received, since it was published; near 0 when there is nothing to receive.",
            registry=registry,
        )
        lag.set_function(lambda: max(0.0, self._clock() - self._counted_up_to))
        self._broker_up = Gauge(
            "jobtrail_metrics_broker_up", "1 while the broker is connected.", registry=registry
        )
        self._messages = Counter(
            "jobtrail_metrics_messages",
            "Messages counted, redelivered and undecodable ones included.",
            registry=registry,
        )

    def received(self, messages: Sequence[Message], connected: bool) -> None:
        """Record a batch, or an empty round. An empty round means "nothing to receive" only while the broker is connected."""
        self._broker_up.set(connected)
        if messages:
            self._counted_up_to = messages[0].publish_timestamp() / 1000
        elif connected:
            self._counted_up_to = self._clock()

    def counted(self, count: int) -> None:
        """Add the number of messages of a counted batch."""
        self._messages.inc(count)
