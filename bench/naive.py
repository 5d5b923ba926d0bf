"""A naive consumer, for comparison: our decoder, prepared statements, and a commit every COMMIT_EVERY events.

`python -m bench.naive COMMIT_EVERY EVENTS` consumes the topic of the settings until it has this many events. It writes
the same tables correctly, with one statement for each event and table, as long as no event is redelivered or reordered.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from broker.client import connect, subscribe
from broker.receive import acknowledge, receive_batch
from broker.registry import WriterSchemas
from derive.fold import fold
from schemas.contract import Event
from settings.aggregator import AggregatorSettings
from store.connection import connect as connect_database

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

_JOB = """
    INSERT INTO jobs (namespace, job_id, attempt, state_rank, occurred_at, state, worker, queue, max_attempts,
        release, executor, error_category, error_type, enqueued_at, started_at, source, external_id, root_job_id,
        parent_job_id, depth, latest_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (namespace, job_id) DO UPDATE SET attempt = excluded.attempt, state_rank = excluded.state_rank,
        occurred_at = excluded.occurred_at, state = excluded.state, error_category = excluded.error_category,
        error_type = excluded.error_type, started_at = excluded.started_at, latest_at = excluded.latest_at
    WHERE (jobs.attempt, jobs.state_rank, jobs.occurred_at)
        < (excluded.attempt, excluded.state_rank, excluded.occurred_at)
"""
_EDGE = """
    INSERT INTO lineage_edges (namespace, upstream_job_id, kind, job_id) VALUES (%s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_ATTEMPT = """
    INSERT INTO attempts (namespace, job_id, attempt, finished_at, digest, state, worker, queue, source, max_attempts,
        started_at, external_id, release, executor, failure_group_id, error_category, error_type, error_message,
        error_stacktrace, error_origin)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING
"""
_OUTCOME = """
    INSERT INTO outcomes_hourly AS stored (namespace, source, worker, queue, hour, completed, retryable, discarded,
        cancelled)
    VALUES (%s, %s, %s, %s, date_trunc('hour', %s, 'UTC'), %s, %s, %s, %s)
    ON CONFLICT (namespace, source, worker, queue, hour) DO UPDATE SET
        completed = stored.completed + excluded.completed, retryable = stored.retryable + excluded.retryable,
        discarded = stored.discarded + excluded.discarded, cancelled = stored.cancelled + excluded.cancelled
"""
_GROUP = """
    INSERT INTO failure_groups AS stored (id, namespace, source, error_category, error_type, fingerprint, title,
        occurrence_count, job_count, first_seen_at, last_seen_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, 1, 1, %s, %s)
    ON CONFLICT (id) DO UPDATE SET occurrence_count = stored.occurrence_count + 1,
        last_seen_at = greatest(stored.last_seen_at, excluded.last_seen_at)
"""


def main() -> None:
    """Consume, and print events per second from the first event to the last commit."""
    commit_every, wanted = int(sys.argv[1]), int(sys.argv[2])
    settings = AggregatorSettings.load()
    client = connect(settings)
    consumer = subscribe(
        client,
        settings,
        f"naive-{commit_every}",
        batch_messages=commit_every,
        batch_bytes=32 * 1024 * 1024,
        batch_wait_seconds=0.1,
        receiver_queue=settings.aggregator_receiver_queue,
    )
    schemas = WriterSchemas(client, settings)
    connection = connect_database(settings, "naive consumer")
    connection.prepare_threshold = 0
    count = 0
    started = None
    while count < wanted:
        messages = receive_batch(consumer, settings)
        if not messages:
            continue
        started = started or time.perf_counter()
        for message in messages:
            _store(connection, schemas.decode(message))
        connection.commit()
        acknowledge(consumer, messages, settings)
        count += len(messages)
    assert started is not None
    print(f"{count / (time.perf_counter() - started):.1f} {time.process_time():.2f}")
    client.close()


def _store(connection: psycopg.Connection[Any], event: Event) -> None:
    """Store one event, with a statement for each table. The attempt's digest and the group come from our `fold`."""
    batch = fold([event])
    job = batch.jobs[0]
    connection.execute(
        _JOB,
        (
            *(*job[:4], _time(job[4]), *job[5:9], *job[10:14]),
            *(_time(job[15]), _time(job[16]), *job[17:22], _time(job[28])),
        ),
    )
    for edge in batch.edges:
        connection.execute(_EDGE, edge)
    for attempt in batch.attempts:
        finished = _time(attempt[3])
        connection.execute(
            _ATTEMPT,
            (
                *attempt[:3],
                finished,
                *attempt[4:10],
                _time(attempt[12]),
                *attempt[13:16],
                attempt[16] or None,
                *attempt[18:23],
            ),
        )
        states = tuple(
            int(attempt[5] == state) for state in ("completed", "retryable", "discarded", "cancelled")
        )
        connection.execute(_OUTCOME, (attempt[0], attempt[8], attempt[6], attempt[7], finished, *states))
        for group in batch.groups:
            connection.execute(_GROUP, (*group[:6], group[7], finished, finished))  # without the hour


def _time(micros: str | int) -> datetime | None:
    return _EPOCH + timedelta(microseconds=int(micros)) if micros else None


if __name__ == "__main__":
    main()
