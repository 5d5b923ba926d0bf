"""The aggregator: writes events from the topic to Postgres. Fold, stage, merge, commit; then the loop acknowledges.

Any number of replicas may run. If one is killed between a commit and its acknowledgement, the messages are delivered again and
change nothing.
"""

from collections.abc import Sequence
from functools import partial

import psycopg
import structlog

from broker.client import Message
from consumers.aggregator.partitions import PartitionUpkeep
from consumers.aggregator.retention import RetentionUpkeep
from consumers.aggregator.self_metrics import AggregatorMetrics
from consumers.process.health import Health, serve
from consumers.process.log import configure_log, log_unknown_names
from consumers.process.progress import MinuteReport
from consumers.process.stop import stop_on_signals
from consumers.receiving.decode import Received
from consumers.receiving.loop import Service, consume
from consumers.receiving.watchdog import DeliveryStoppedError, log_stopped
from consumers.writing.pipeline import Committed, Pipeline
from derive.fingerprint import VERSION
from settings.aggregator import AggregatorSettings
from store.causes import Access, statement_error
from store.connection import connect as connect_database
from store.migrate import check_version
from store.writing.writer import check_fingerprint_version

log = structlog.get_logger(__name__)

_SILENT_SECONDS = 10.0


def run(settings: AggregatorSettings) -> int:
    """Work until SIGTERM or SIGINT. Return the exit status.

    Raises JobtrailError when it cannot work at all: the database has another version, the port is in use.
    """
    configure_log(settings, "aggregator")
    log_unknown_names()
    stop = stop_on_signals()
    health = Health(
        silent_after_seconds=max(
            3 * settings.database_lock_timeout_seconds, 2 * settings.pulsar_operation_timeout_seconds
        )
    )
    metrics = AggregatorMetrics()
    with serve(health, metrics.registry, settings.listen_host, settings.aggregator_port):
        connect_session = partial(_open_session, settings)
        pipeline = Pipeline(
            connect_session,
            stop,
            settings.aggregator_retry_longest_seconds,
            on_database=partial(_report_database, health, metrics),
        )
        health.ask("database", partial(_silence_problem, pipeline))
        try:
            if pipeline.open():
                with connect_session() as connection:
                    check_fingerprint_version(connection, VERSION)
                aggregation = Aggregation(pipeline, metrics, PartitionUpkeep(connect_session))
                with RetentionUpkeep(settings, metrics.set_horizon):
                    consume(Service(settings, stop, health, aggregation))
        except DeliveryStoppedError as error:
            return log_stopped(error)
        except psycopg.Error as error:
            raise statement_error("take the events", error, settings, Access.CHANGE) from error
        finally:
            pipeline.close()
    log.info("stopped")
    return 0


def _open_session(settings: AggregatorSettings) -> psycopg.Connection:
    """Connect. Raises StoreError unless this release fits the database: it may have been migrated since the last session."""
    connection = connect_database(settings, "jobtrail aggregator")
    try:
        check_version(connection)
    except BaseException:
        connection.close()
        raise
    return connection


class Aggregation:
    """The aggregator's processor: writes batches with the pipeline, and counts and logs each one when it is committed."""

    def __init__(self, pipeline: Pipeline, metrics: AggregatorMetrics, upkeep: PartitionUpkeep) -> None:
        self._pipeline = pipeline
        self._metrics = metrics
        self._upkeep = upkeep
        self._progress = MinuteReport("aggregated")

    def start_round(self, _messages: Sequence[Message], _connected: bool) -> None:
        """Create the partitions of the coming days and log the minute's line, when due."""
        self._upkeep.when_due()
        self._progress.log_when_due()

    def submit(self, received: Received) -> None:
        """Fold a batch and start writing it. Waits while both sessions are busy."""
        self._pipeline.submit(received)

    def poll(self) -> list[Received]:
        """Return the batches committed since the last call, without waiting."""
        return [self._record(done) for done in self._pipeline.poll()]

    def join(self) -> list[Received]:
        """Wait until all submitted batches are committed, or dropped because a stop was requested."""
        return [self._record(done) for done in self._pipeline.join()]

    @property
    def is_empty(self) -> bool:
        """Whether no batch is in progress."""
        return self._pipeline.is_empty

    def _record(self, done: Committed) -> Received:
        self._metrics.committed(done)
        log.debug("committed", events=done.batch.events, **done.written._asdict())
        self._progress.add(
            events=done.batch.events,
            new_attempts=done.written.new_attempts,
            dead_letters=len(done.batch.dead_letters),
        )
        return done.received


def _silence_problem(pipeline: Pipeline) -> str | None:
    """Return what is wrong with a database that does not answer: frozen, cut off, or waiting for a lock. None if it answers."""
    seconds = pipeline.silent_seconds()
    return f"no answer for {seconds:.0f} s" if seconds > _SILENT_SECONDS else None


def _report_database(health: Health, metrics: AggregatorMetrics, why: str | None) -> None:
    health.turned()
    metrics.database_up.set(why is None)
    if why is None:
        health.ready("database")
    else:
        health.not_ready("database", "away")
