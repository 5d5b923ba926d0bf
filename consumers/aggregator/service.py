"""The aggregator: events from the topic into Postgres. Receive, decode, fold, stage, merge, commit; then acknowledge.

Any number of replicas may run. Stopping: SIGTERM ends the receiving; the batches in hand are committed and
acknowledged; then the consumer is closed, which sends the last acknowledgements; then the sessions. What is killed in
between has acknowledged nothing that was not committed, so it comes again and changes nothing.
"""

from collections.abc import Iterable
from functools import partial

import psycopg
import structlog

from broker.client import Client, Consumer, connect
from broker.receive import abandon, acknowledge, close, leave, receive_batch
from broker.registry import WriterSchemas
from consumers.aggregator.partitions import PartitionUpkeep
from consumers.aggregator.retention import RetentionUpkeep
from consumers.aggregator.self_metrics import AggregatorMetrics
from consumers.process.barriers import halfway, reached
from consumers.process.health import Health, serve
from consumers.process.interpreter import set_interpreter
from consumers.process.log import configure_log
from consumers.process.progress import Progress
from consumers.process.stop import Stop, stop_on_signals
from consumers.receiving.decode import decode_batch
from consumers.receiving.receiver_queue import ReceiverQueue
from consumers.receiving.subscription import Reconnection, note_broker, note_wait, subscribe_patiently
from consumers.receiving.watchdog import DeliveryStoppedError, Watchdog, say_stopped
from consumers.writing.pipeline import Committed, Pipeline
from derive.fingerprint import VERSION
from schemas.errors import StoreError
from settings.aggregator import AggregatorSettings
from store.connection import connect as connect_database
from store.connection import describe
from store.migrate import check_version
from store.writing.writer import check_fingerprint_version

log = structlog.get_logger(__name__)

_SILENT_SECONDS = 10.0


def run(settings: AggregatorSettings) -> int:
    """Work until SIGTERM or SIGINT; returns the exit status.

    Raises JobtrailError when it cannot work at all: the database is of another version, the port is taken.
    """
    configure_log(settings, "aggregator")
    stop = stop_on_signals()
    health = Health(
        silent_after_seconds=max(
            3 * settings.database_lock_timeout_seconds, 2 * settings.pulsar_operation_timeout_seconds
        )
    )
    metrics = AggregatorMetrics()
    with serve(health, metrics.registry, settings.listen_host, settings.aggregator_port):
        connect_session = partial(connect_database, settings, "jobtrail aggregator")
        pipeline = Pipeline(
            connect_session,
            stop,
            settings.aggregator_retry_longest_seconds,
            on_database=partial(_note_database, health, metrics),
        )
        health.ask("database", partial(_silence, pipeline))
        try:
            if pipeline.open():
                with connect_session() as connection:
                    check_version(connection)
                    check_fingerprint_version(connection, VERSION)
                with RetentionUpkeep(settings, metrics.horizon_is):
                    _consume(settings, stop, health, metrics, pipeline, PartitionUpkeep(connect_session))
        except DeliveryStoppedError as error:
            return say_stopped(error)
        except psycopg.ProgrammingError as error:
            raise StoreError(
                f"the tables in {describe(settings)} are not those of this release: {str(error).strip()}. "
                "Run `jobtrail migrate`."
            ) from error
        finally:
            pipeline.close()
    log.info("stopped")
    return 0


def _consume(
    settings: AggregatorSettings,
    stop: Stop,
    health: Health,
    metrics: AggregatorMetrics,
    pipeline: Pipeline,
    upkeep: PartitionUpkeep,
) -> None:
    progress = Progress("aggregated")
    watchdog = Watchdog(settings, settings.aggregator_subscription)
    queue = ReceiverQueue(settings.aggregator_receiver_queue, settings.aggregator_receiver_queue_bytes)
    set_interpreter()
    try:
        while not stop.requested:
            client = connect(settings)
            try:
                _consume_by(
                    client, settings, stop, health, metrics, pipeline, upkeep, progress, watchdog, queue
                )
            finally:
                leave(client)
    finally:
        watchdog.close()


def _consume_by(
    client: Client,
    settings: AggregatorSettings,
    stop: Stop,
    health: Health,
    metrics: AggregatorMetrics,
    pipeline: Pipeline,
    upkeep: PartitionUpkeep,
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
        name=settings.aggregator_subscription,
        batch_messages=settings.aggregator_batch_events,
        batch_bytes=settings.aggregator_batch_bytes,
        batch_wait_seconds=settings.aggregator_batch_wait_seconds,
        receiver_queue=queue.messages,
        longest_pause_seconds=settings.aggregator_retry_longest_seconds,
    )
    if consumer is None:
        return
    schemas = WriterSchemas(client, settings)
    acknowledged = partial(_acknowledge, consumer, settings, metrics, progress)
    reconnection = Reconnection(settings)
    health.ready("service")
    while not stop.requested:
        health.turned()
        upkeep.when_due()
        messages = receive_batch(consumer, settings)
        connected = note_broker(consumer, health)
        watchdog.turned(idle=not messages and pipeline.is_empty, connected=connected)
        if messages:
            reached("after receive")
            received = decode_batch(
                messages,
                schemas,
                stop,
                settings.aggregator_retry_longest_seconds,
                partial(note_wait, health),
            )
            if received is None:
                break
            acknowledged(pipeline.submit(received))
            if queue.is_outgrown(messages):
                acknowledged(pipeline.drain())
                close(consumer, settings)
                return
        elif reconnection.due(connected):
            acknowledged(pipeline.drain())
            abandon(consumer)
            return
        acknowledged(pipeline.done())
    log.info("stopping", then="finishes the batches in hand")
    acknowledged(pipeline.drain())
    close(consumer, settings)


def _acknowledge(
    consumer: Consumer,
    settings: AggregatorSettings,
    metrics: AggregatorMetrics,
    progress: Progress,
    committed: Iterable[Committed],
) -> None:
    """Only what is committed; and as often as it comes."""
    for done in committed:
        reached("after commit")
        acknowledge(consumer, halfway("during ack", done.received.messages), settings)
        metrics.committed(done)
        log.debug("committed", events=done.batch.events, **done.written._asdict())
        progress.add(
            events=done.batch.events,
            new_attempts=done.written.new_attempts,
            dead_letters=len(done.batch.dead_letters),
        )
    progress.say_when_due()


def _silence(pipeline: Pipeline) -> str | None:
    """A database that is there and says nothing: frozen, behind a path that stalls, or waiting for somebody's lock."""
    seconds = pipeline.silent_seconds()
    return f"no answer for {seconds:.0f} s" if seconds > _SILENT_SECONDS else None


def _note_database(health: Health, metrics: AggregatorMetrics, why: str | None) -> None:
    health.turned()
    metrics.database_up.set(why is None)
    if why is None:
        health.ready("database")
    else:
        health.not_ready("database", "away")
