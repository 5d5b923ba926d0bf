"""The metrics consumer: counts events from the topic for Prometheus to scrape.

Any number of replicas may run: each counts what it receives, and the counts add up. If a process is killed before it
acknowledges what it counted, another replica counts those messages again: Prometheus is at least once, Postgres is exact.
"""

from collections.abc import Sequence

import structlog
from prometheus_client import CollectorRegistry

from broker.client import Message
from consumers.metrics.measures import measure
from consumers.metrics.page import TallyCollector
from consumers.metrics.self_metrics import ServiceMetrics
from consumers.metrics.tally import Tally
from consumers.process.health import Health, serve
from consumers.process.log import configure_log, log_unknown_names
from consumers.process.progress import MinuteReport
from consumers.process.stop import stop_on_signals
from consumers.receiving.decode import Received
from consumers.receiving.loop import Service, consume
from consumers.receiving.watchdog import DeliveryStoppedError, log_stopped
from settings.metrics import MetricsSettings

log = structlog.get_logger(__name__)


def run(settings: MetricsSettings) -> int:
    """Work until SIGTERM or SIGINT. Return the exit status.

    Raises JobtrailError when it cannot work at all: the port is in use, the token cannot be read.
    """
    configure_log(settings, "metrics")
    log_unknown_names()
    stop = stop_on_signals()
    health = Health(silent_after_seconds=max(60, 2 * settings.pulsar_operation_timeout_seconds))
    registry = CollectorRegistry()
    tally = Tally(settings)
    registry.register(TallyCollector(tally))
    counting = Counting(tally, ServiceMetrics(registry))
    with serve(health, registry, settings.listen_host, settings.metrics_port):
        try:
            consume(Service(settings, stop, health, counting))
        except DeliveryStoppedError as error:
            return log_stopped(error)
    total = counting.progress.total
    log.info("stopped", events=total["events"], undecodable=total["undecodable"])
    return 0


class Counting:
    """The metrics consumer's processor: a batch is finished as soon as it is counted."""

    def __init__(self, tally: Tally, service: ServiceMetrics) -> None:
        self._tally = tally
        self._service = service
        self._counted: list[Received] = []
        self.progress = MinuteReport("counted")

    def start_round(self, messages: Sequence[Message], connected: bool) -> None:
        """Record the lag, and log the minute's line when due."""
        self._service.received(messages, connected)
        self.progress.log_when_due()

    def submit(self, received: Received) -> None:
        """Count a batch."""
        self._tally.add(measure(received.events, self._tally.slot_seconds))
        for letter in received.dead_letters:
            self._tally.add_undecodable(letter.reason)
        self._service.counted(len(received.messages))
        events, undecodable = len(received.events), len(received.dead_letters)
        log.debug("counted_batch", events=events, undecodable=undecodable)
        self.progress.add(events=events, undecodable=undecodable)
        self._counted.append(received)

    def poll(self) -> list[Received]:
        """Return the batches counted since the last call."""
        counted, self._counted = self._counted, []
        return counted

    def join(self) -> list[Received]:
        """Return the batches counted since the last call. There is never anything to wait for."""
        return self.poll()

    @property
    def is_empty(self) -> bool:
        """Whether every counted batch has been returned."""
        return not self._counted
