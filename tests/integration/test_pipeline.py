"""The aggregator's two connections, when errors come at the worst moment, on a real Postgres."""

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest
from structlog.testing import capture_logs

from broker.client import Message
from consumers.process.stop import Stop
from consumers.receiving.decode import Received
from consumers.writing.pipeline import Committed, Pipeline
from derive.rows import Batch, DeadLetter
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import begin, check_fingerprint_version
from testing.services import wait_until
from testing.topics import EVENT, encode

decode = decoder(SCHEMA_TEXT)


def received(*job_ids: str, letters: tuple[DeadLetter, ...] = ()) -> Received:
    """Return a batch of completed jobs. Its messages have only what a dead letter keeps."""
    messages = [
        cast(
            Message,
            SimpleNamespace(
                topic_name=lambda: "persistent://t/n/events",
                message_id=lambda job_id=job_id: f"(1,2,3,{job_id})",
                data=lambda: b"",
                partition_key=lambda: "",
                publish_timestamp=lambda: 1_790_000_000_000,
                encryption_context=lambda: None,
                int_schema_version=lambda: 0,
                length=lambda: 0,
            ),
        )
        for job_id in job_ids
    ]
    events = [decode(encode({**EVENT, "job_id": job_id})) for job_id in job_ids]
    return Received(messages, events, messages, list(letters))


def letter(number: int, schema_version: int = 0) -> DeadLetter:
    return DeadLetter(
        "t", f"(9,9,9,{number})", "malformed", "bad", b"\x07", "key", 1_790_000_000_000_000, schema_version
    )


@contextmanager
def pipeline_on(url: str, stop: Stop | None = None, **settings: object) -> Iterator[Pipeline]:
    loaded = DatabaseSettings.load(database_url=url, **settings)
    pipeline = Pipeline(lambda: connect(loaded, "jobtrail aggregator"), stop or Stop(), 0.1)
    assert pipeline.open()
    try:
        yield pipeline
    finally:
        pipeline.close()


@pytest.fixture
def observer(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def stored(observer: psycopg.Connection[Any]) -> set[str]:
    return {job_id for (job_id,) in observer.execute("SELECT job_id FROM jobtrail.jobs").fetchall()}


def jobs_of(committed: list[Committed]) -> list[str]:
    return [event.job_id for done in committed for event in done.received.events]


def test_a_session_that_the_server_ends_for_idling_is_opened_again(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """A staged batch waits for the previous one until the server ends its session; both batches are stored."""
    with (
        pipeline_on(database_url, database_idle_in_transaction_seconds=1) as pipeline,
        psycopg.connect(database_url) as holder,
    ):
        holder.execute("LOCK TABLE jobtrail.jobs IN SHARE MODE")
        pipeline.submit(received("1"))
        pipeline.submit(received("2"))
        assert pipeline.poll() == []
        wait_until(
            lambda: (
                _count(observer, "state = 'idle in transaction' AND application_name LIKE 'jobtrail%'") == 0
            ),
            "the idle session to be ended",
        )
        holder.rollback()
        assert jobs_of(pipeline.join()) == ["1", "2"]
    assert stored(observer) == {"1", "2"}


def test_a_stop_while_the_database_is_away_ends_without_an_error(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """Two batches are being written and a third waits: nothing is committed twice, and nothing crashes."""
    name = observer.info.dbname
    stop = Stop()
    with pipeline_on(database_url, stop) as pipeline:
        pipeline.submit(received("1"))
        assert jobs_of(pipeline.join()) == ["1"]
        with psycopg.connect(database_url.replace(f"/{name}", "/postgres"), autocommit=True) as server:
            with psycopg.connect(database_url) as holder:
                holder.execute("LOCK TABLE jobtrail.jobs IN SHARE MODE")
                pipeline.submit(received("2"))
                pipeline.submit(received("3"))
                server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                server.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jobtrail aggregator'"
                )
                stop.request()
                pipeline.submit(received("4"))
                assert pipeline.join() == []
            server.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    assert stored(observer) == {"1"}


def test_batches_that_failed_are_freed_when_they_are_written(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """Their errors hold the frames that hold the batches, and the consumer's garbage collector hardly ever runs."""
    with pipeline_on(database_url) as pipeline, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE jobtrail.jobs IN SHARE MODE")
        gc.collect()
        gc.disable()
        try:
            pipeline.submit(received("1"))
            pipeline.submit(received("2"))
            assert pipeline.poll() == []
            observer.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'jobtrail aggregator'"
            )
            holder.rollback()
            assert jobs_of(pipeline.join()) == ["1", "2"]
            assert [one for one in gc.get_objects() if isinstance(one, Received)] == []
        finally:
            gc.enable()


def test_a_session_that_cannot_be_prepared_is_closed_before_the_pause(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """A server in recovery accepts connections but refuses the stage tables (25006): no attempt leaves a session behind."""
    name = observer.info.dbname
    observer.execute(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    loaded, stop = DatabaseSettings.load(database_url=database_url), Stop()
    opened: list[psycopg.Connection[Any]] = []
    left_open: list[int] = []

    def session() -> psycopg.Connection[Any]:
        opened.append(connect(loaded, "jobtrail aggregator"))
        return opened[-1]

    def away(why: str | None) -> None:
        assert why is not None
        left_open.append(sum(not one.closed for one in opened))
        if len(opened) == 3:
            stop.request()

    pipeline = Pipeline(session, stop, 0.1, on_database=away)
    assert not pipeline.open()
    pipeline.close()
    assert left_open == [0, 0, 0]


@pytest.mark.parametrize("refused", [2**70, -(2**70)])
def test_a_dead_letter_that_postgres_refuses_is_kept_without_the_refused_value(
    database_url: str, observer: psycopg.Connection[Any], refused: int
) -> None:
    """Metadata that a publisher's client wrote cannot stop the events and dead letters around it."""
    with pipeline_on(database_url) as pipeline:
        batch = received("1", "2", "3", letters=(letter(1), letter(2, refused), letter(3)))
        pipeline.submit(batch)
        committed = pipeline.join()
    assert [len(done.batch.dead_letters) for done in committed] == [3]
    assert [done.batch.events for done in committed] == [3]
    assert stored(observer) == {"1", "2", "3"}
    kept = observer.execute(
        "SELECT message_id, reason, schema_version, payload FROM jobtrail.dead_letters ORDER BY 1"
    ).fetchall()
    assert kept == [
        ("(9,9,9,1)", "malformed", 0, b"\x07"),
        ("(9,9,9,2)", "malformed", -1, b"\x07"),
        ("(9,9,9,3)", "malformed", 0, b"\x07"),
    ]


def test_refused_events_are_counted_as_dead_letters(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """Two of eight are refused: six are stored, and the counts show both."""
    observer.execute("ALTER TABLE jobtrail.jobs ADD CONSTRAINT no_poison CHECK (job_id NOT LIKE 'poison%')")
    with pipeline_on(database_url) as pipeline:
        batch = received("1", "poison-1", "2", "3", "4", "poison-2", "5", "6", letters=(letter(1),))
        pipeline.submit(batch)
        (done,) = pipeline.join()
    assert done.received is batch
    assert sorted(one.reason for one in done.batch.dead_letters) == [
        "malformed",
        "refused_by_database",
        "refused_by_database",
    ]
    assert (done.batch.events, done.written.new_attempts, done.written.new_dead_letters) == (6, 6, 3)
    assert stored(observer) == {"1", "2", "3", "4", "5", "6"}


def test_a_batch_behind_one_that_failed_is_not_committed_before_it(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """A rebuild stores its position with each batch: after a crash between the two, the first one would be skipped."""
    observer.execute("ALTER TABLE jobtrail.jobs ADD CONSTRAINT no_poison CHECK (job_id <> 'poison')")
    seen: list[set[str]] = []
    with pipeline_on(database_url) as pipeline, psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE jobtrail.jobs IN SHARE MODE")
        pipeline.submit(received("1", "poison"))
        pipeline.submit(received("2"), lambda _connection, _batch: seen.append(stored(observer)))
        holder.rollback()
        assert jobs_of(pipeline.join()) == ["1", "poison", "2"]
    assert seen == [{"1", "2"}], "the position of the second batch was stored before the first one's rows"
    assert stored(observer) == {"1", "2"}


def test_no_batch_overtakes_the_one_before_it_at_the_writers_lock(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would wait for that batch, which would wait for an exclusive request queued between them: a deadlock."""
    order: list[str] = []
    second_came = threading.Event()

    class Awaited(threading.Event):
        """The event that a batch waits for before it asks for the lock."""

        def wait(self, timeout: float | None = None) -> bool:
            second_came.set()
            return super().wait(timeout)

    def late(connection: Any, batch: Batch, *rest: Any) -> None:
        job_id = str(batch.jobs[0][1])
        if job_id == "1":
            second_came.wait()  # do not ask for the lock before the second batch waits, or has overtaken
        order.append(job_id)
        if job_id == "2":
            second_came.set()
        begin(connection, batch, *rest)

    monkeypatch.setattr("consumers.writing.pipeline.threading", SimpleNamespace(Event=Awaited))
    monkeypatch.setattr("consumers.writing.pipeline.begin", late)
    with pipeline_on(database_url) as pipeline:
        pipeline.submit(received("1"))
        pipeline.submit(received("2"))
        assert jobs_of(pipeline.join()) == ["1", "2"]
    assert order == ["1", "2"]


def test_tables_of_another_fingerprint_version_are_refused(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """Groups of two versions would be mixed."""
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail tests") as connection:
        check_fingerprint_version(connection, 1)
        with pytest.raises(StoreError, match="version 1 of the fingerprint, this code has version 2"):
            check_fingerprint_version(connection, 2)


def _count(observer: psycopg.Connection[Any], condition: str) -> int:
    row = observer.execute(
        f"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND {condition}"
    ).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def test_an_outage_in_which_sessions_can_be_opened_is_one_outage(
    database_url: str, observer: psycopg.Connection[Any]
) -> None:
    """As with a full disk: every try connects, and fails at the write. Neither the log nor /readyz flaps."""
    observer.execute(
        "CREATE FUNCTION public.refuse() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = '53100'; END $$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON jobtrail.jobs EXECUTE FUNCTION public.refuse()"
    )
    states: list[bool] = []
    loaded = DatabaseSettings.load(database_url=database_url)
    pipeline = Pipeline(
        lambda: connect(loaded, "jobtrail aggregator"),
        Stop(),
        0.05,
        on_database=lambda why: states.append(why is None),
    )
    with capture_logs() as lines:
        assert pipeline.open()
        pipeline.submit(received("1"))
        joined: list[Committed] = []
        thread = threading.Thread(target=lambda: joined.extend(pipeline.join()))
        thread.start()
        wait_until(lambda: states.count(False) >= 5, "five tries")
        observer.execute("DROP TRIGGER full_disk ON jobtrail.jobs")
        thread.join(30)
        pipeline.close()
    assert jobs_of(joined) == ["1"]
    assert states == [True, *[False] * (len(states) - 2), True]
    assert [line["event"] for line in lines if line["event"].startswith("database")] == [
        "database_away",
        "database_back",
    ]
