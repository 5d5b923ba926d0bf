"""Partitions of finished attempts: created before their day, also around rows that came earlier."""

import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from derive.fold import fold
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store import migrate as migrations
from store import partitions
from store.connection import connect
from store.locks import Lock, acquire
from store.partitions import DAYS_AHEAD, DAYS_BACK, ensure_days, ensure_near_days
from store.writing.writer import prepare_session, write_batch
from testing.services import wait_until
from testing.topics import EVENT, encode

NOW = datetime(2031, 5, 4, 12, tzinfo=UTC)


def test_days_are_created_once_and_rows_of_the_default_partition_move_into_theirs(
    database_url_each: str,
) -> None:
    """An attempt that finished on a day without a partition moves into that day's partition when it is created."""
    with connect(DatabaseSettings.load(database_url=database_url_each), "jobtrail tests") as connection:
        prepare_session(connection)
        event = decoder(SCHEMA_TEXT)(encode({**EVENT, "occurred_at": int(NOW.timestamp()) * 1_000_000}))
        write_batch(connection, fold([event]))
        assert _partition(connection) == "attempts_default"
        connection.commit()

        assert len(ensure_near_days(connection, NOW)) == DAYS_BACK + 1 + DAYS_AHEAD
        assert _partition(connection) == "attempts_20310504"
        assert ensure_near_days(connection, NOW) == []
        assert ensure_near_days(connection, NOW + timedelta(days=1)) == ["attempts_20310512"]

        assert write_batch(connection, fold([event])).new_attempts == 0


def test_a_busy_default_partition_is_skipped_soon_and_created_partitions_stay(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers queue behind the session that waits for it, so it must wait for less time than a batch may."""
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "50ms")
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail tests") as reader, connect(settings, "jobtrail tests") as connection:
        reader.execute("SELECT FROM attempts_default")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            ensure_near_days(connection, NOW)
        reader.rollback()
        assert len(ensure_near_days(connection, NOW)) == DAYS_BACK + 1 + DAYS_AHEAD
        connection.commit()
        assert connection.execute("SHOW lock_timeout").fetchone() == ("1min",)


def test_two_processes_that_create_the_same_days_at_once_take_turns(database_url_each: str) -> None:
    """The second looked before the first had created the partition, and looks again when it is its turn."""
    settings = DatabaseSettings.load(database_url=database_url_each)
    made: list[list[str]] = []
    with (
        connect(settings, "jobtrail tests") as first,
        connect(settings, "jobtrail tests") as second,
        connect(settings, "jobtrail tests", autocommit=True) as observer,
    ):
        day = NOW.date()
        with first.transaction():
            acquire(first, Lock.PARTITIONS)
            thread = threading.Thread(target=lambda: made.append(ensure_days(second, day, day)))
            thread.start()
            wait_until(lambda: _waits(observer, second.info.backend_pid), "the second to wait")
            assert ensure_days(first, day, day) == ["attempts_20310504"]
        thread.join(10)
    assert made == [[]]


def test_migrate_waits_for_a_busy_default_partition(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the partition stays busy, it reports what is missing, and the cure."""
    monkeypatch.setattr(partitions, "LOCK_TIMEOUT", "50ms")
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail tests") as reader, connect(settings, "jobtrail tests") as connection:
        connection.execute("DROP TABLE jobtrail.attempts_" + f"{datetime.now(UTC):%Y%m%d}")
        connection.commit()
        reader.execute("SELECT FROM attempts_default")
        monkeypatch.setattr(migrations, "_PARTITION_PAUSE_SECONDS", 0)
        with pytest.raises(StoreError, match=r"every migration is applied.*[Rr]un `jobtrail migrate` again"):
            migrations.migrate(connection)
        monkeypatch.setattr("time.sleep", lambda _: reader.rollback())
        assert migrations.migrate(connection) == []
        assert ensure_near_days(connection) == []


def _partition(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT tableoid::regclass::text FROM attempts").fetchone()
    assert row is not None
    name: str = row[0]
    return name.removeprefix("jobtrail.")


def _waits(observer: psycopg.Connection, pid: int) -> bool:
    """Return whether a session waits for a lock."""
    row = observer.execute(
        "SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = %s", [pid]
    ).fetchone()
    return bool(row and row[0])
