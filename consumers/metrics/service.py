"""The metrics consumer: events from the topic into counts that Prometheus scrapes. Receive, decode, count, acknowledge.

Any number of replicas may run: each counts what it is given, and the counts add up. What is killed between counting and
acknowledging is given to another replica and counted there as well: Prometheus is at-least-once, Postgres is exact.
Stopping: SIGTERM ends the receiving; the batch in hand is counted and acknowledged; then the consumer is closed, which
sends the last acknowledgements.
"""

from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from broker.client import Client, connect
from broker.receive import abandon, acknowledge, close, leave, receive_batch
from broker.registry import WriterSchemas
from consumers.metrics.measures import measure
from consumers.metrics.page import TallyCollector
from consumers.metrics.self_metrics import ServiceMetrics
from consumers.metrics.tally import Tally
from consumers.process.health import Health, serve
from consumers.process.interpreter import set_interpreter
from consumers.process.log import configure_log
from consumers.process.progress import Progress
from consumers.process.stop import Stop, stop_on_signals
from consumers.receiving.decode import Received, decode_batch
from consumers.receiving.receiver_queue import ReceiverQueue
from consumers.receiving.subscription import Reconnection, note_broker, note_wait, subscribe_patiently
from consumers.receiving.watchdog import DeliveryStoppedError, Watchdog, say_stopped
from settings.metrics import MetricsSettings

log = structlog.get_logger(__name__)


def run(settings: MetricsSettings) -> int:
    """Work until SIGTERM or SIGINT; returns the exit status.

    Raises JobtrailError when it cannot work at all: the port is taken, the token cannot be read.
    """
    configure_log(settings, "metrics")
    stop = stop_on_signals()
    health = Health(silent_after_seconds=max(60, 2 * settings.pulsar_operation_timeout_seconds))
    registry = CollectorRegistry()
    tally = Tally(settings)
    registry.register(TallyCollector(tally))
    service = ServiceMetrics(registry)
    progress = Progress("counted")
    with serve(health, registry, settings.listen_host, settings.metrics_port):
        try:
            _consume(settings, stop, health, tally, service, progress)
        except DeliveryStoppedError as error:
            return say_stopped(error)
    log.info("stopped", events=progress.total["events"], undecodable=progress.total["undecodable"])
    return 0


def _consume(
    settings: MetricsSettings,
    stop: Stop,
    health: Health,
    tally: Tally,
    service: ServiceMetrics,
    progress: Progress,
) -> None:
    watchdog = Watchdog(settings, settings.metrics_subscription)
    queue = ReceiverQueue(settings.metrics_receiver_queue, settings.metrics_receiver_queue_bytes)
    set_interpreter()
    try:
        while not stop.requested:
            client = connect(settings)
            try:
                _consume_by(client, settings, stop, health, tally, service, progress, watchdog, queue)
            finally:
                leave(client)
    finally:
        watchdog.close()


def _consume_by(
    client: Client,
    settings: MetricsSettings,
    stop: Stop,
    health: Health,
    tally: Tally,
    service: ServiceMetrics,
    progress: Progress,
    watchdog: Watchdog,
    queue: ReceiverQueue,
) -> None:
    """Until the stop is asked for, or the client is to be made anew."""
    consumer = subscribe_patiently(
        client,
        settings,
        stop,
        health,
        name=settings.metrics_subscription,
        batch_messages=settings.metrics_batch_events,
        batch_bytes=settings.metrics_batch_bytes,
        batch_wait_seconds=settings.metrics_batch_wait_seconds,
        receiver_queue=queue.messages,
        longest_pause_seconds=settings.metrics_retry_longest_seconds,
    )
    if consumer is None:
        return
    schemas = WriterSchemas(client, settings)
    reconnection = Reconnection(settings)
    health.ready("service")
    while not stop.requested:
        health.turned()
        messages = receive_batch(consumer, settings)
        connected = note_broker(consumer, health)
        service.received(messages, connected)
        watchdog.turned(idle=not messages, connected=connected)
        if messages:
            received = decode_batch(
                messages,
                schemas,
                stop,
                settings.metrics_retry_longest_seconds,
                partial(note_wait, health),
            )
            if received is None:
                break
            _count(received, tally)
            acknowledge(consumer, messages, settings)
            service.acknowledged(len(messages))
            events, undecodable = len(received.events), len(received.dead_letters)
            log.debug("counted_batch", events=events, undecodable=undecodable)
            progress.add(events=events, undecodable=undecodable)
            if queue.is_outgrown(messages):
                break
        elif reconnection.due(connected):
            abandon(consumer)
            return
        progress.say_when_due()
    close(consumer, settings)


def _count(received: Received, tally: Tally) -> None:
    tally.add(measure(received.events, tally.slot_seconds))
    for letter in received.dead_letters:
        tally.add_undecodable(letter.reason)
