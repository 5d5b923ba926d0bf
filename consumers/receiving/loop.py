"""The loop that every consuming service runs: receive a batch, decode it, give it to the service's processor, acknowledge.

The loop owns the client, the subscription and the watchdog; a processor decides what happens with the events. A message is
acknowledged only when the processor has returned its batch as finished.

Stopping: SIGTERM ends receiving; the processor finishes the batches in progress, and they are acknowledged; then the
consumer is closed, which sends the last acknowledgements. A process that is killed in between has acknowledged nothing
unfinished, so those messages are delivered again.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog

from broker.client import Client, Consumer, Message, connect
from broker.receive import abandon, acknowledge, close, leave, receive_batch
from broker.registry import WriterSchemas
from consumers.process.barriers import halfway, reached
from consumers.process.health import Health
from consumers.process.interpreter import set_interpreter
from consumers.process.outage import OutageLog
from consumers.process.stop import Stop
from consumers.receiving.decode import Received, decode_batch
from consumers.receiving.receiver_queue import ReceiverQueue
from consumers.receiving.subscription import Reconnection, report_broker, report_wait, subscribe_patiently
from consumers.receiving.watchdog import Watchdog
from settings.consumer import ConsumerSettings
from store.steps import Step

log = structlog.get_logger(__name__)


class Processor(Protocol):
    """What a service does with batches. Every call comes from the thread that runs the loop."""

    def start_round(self, messages: Sequence[Message], connected: bool) -> None:
        """Record what was received in this round (often nothing), and whether the broker is connected.

        Called once a round, before `submit`. Periodic work also belongs here.
        """

    def submit(self, received: Received) -> None:
        """Take a batch. May wait until there is room for it."""

    def poll(self) -> Iterable[Received]:
        """Return the batches finished since the last call, in the order of submission, without waiting."""

    def join(self) -> Iterable[Received]:
        """Wait until every submitted batch is finished, and return them like `poll`.

        A batch that cannot be finished after a request to stop is not returned, so it is not acknowledged.
        """

    @property
    def is_empty(self) -> bool:
        """Whether the processor has no batch."""


@dataclass(frozen=True)
class Service:
    """The parts of a consuming service. They live as long as its process."""

    settings: ConsumerSettings
    stop: Stop
    health: Health
    processor: Processor


def consume(service: Service) -> None:
    """Run the loop until the service is asked to stop. Wait for a broker that is away.

    Raises DeliveryStoppedError when the watchdog finds that nothing is delivered although messages wait, and JobtrailError
    when the service cannot work at all.
    """
    subscription = service.settings.subscription
    watchdog = Watchdog(service.settings, subscription.name)
    outage = OutageLog("broker_away", "broker_back", "tries again every few seconds; nothing is lost")
    queue = ReceiverQueue(subscription.receiver_queue, subscription.receiver_queue_bytes)
    set_interpreter()
    try:
        while not service.stop.requested:
            client = connect(service.settings)
            try:
                _consume_with(client, service, watchdog, outage, queue)
            finally:
                leave(client)
    finally:
        watchdog.close()


def _consume_with(
    client: Client, service: Service, watchdog: Watchdog, outage: OutageLog, queue: ReceiverQueue
) -> None:
    """Consume until a stop is requested, or until a new client is needed."""
    settings, stop, health, processor = service.settings, service.stop, service.health, service.processor
    consumer = subscribe_patiently(client, settings, stop, health, outage, queue.messages)
    if consumer is None:
        return
    schemas = WriterSchemas(client, settings)
    reconnection = Reconnection(settings)
    on_wait = partial(report_wait, health)
    longest_pause_seconds = settings.subscription.retry_longest_seconds
    health.ready("service")
    while not stop.requested:
        health.turned()
        messages = receive_batch(consumer, settings)
        connected = report_broker(consumer, health, outage)
        processor.start_round(messages, connected)
        watchdog.turned(idle=not messages and processor.is_empty, connected=connected)
        if messages:
            reached(Step.AFTER_RECEIVE)
            received = decode_batch(messages, schemas, stop, longest_pause_seconds, on_wait)
            if received is None:
                break
            processor.submit(received)
            if queue.is_outgrown(messages):
                break
        elif reconnection.due(connected):
            _acknowledge(consumer, settings, processor.join())
            abandon(consumer)
            return
        _acknowledge(consumer, settings, processor.poll())
    if stop.requested:
        log.info("stopping", then="finishes the batches in progress")
    _acknowledge(consumer, settings, processor.join())
    close(consumer, settings)


def _acknowledge(consumer: Consumer, settings: ConsumerSettings, finished: Iterable[Received]) -> None:
    for received in finished:
        reached(Step.AFTER_COMMIT)
        acknowledge(consumer, halfway(Step.DURING_ACK, received.messages), settings)
