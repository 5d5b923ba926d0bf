"""Partitions of finished attempts: made before their day, and around rows that came too early for them."""

from datetime import UTC, datetime, timedelta

import psycopg

from consumers.fold import fold
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from settings.database import DatabaseSettings
from store.connection import connect
from store.partitions import DAYS_AHEAD, DAYS_BACK, ensure_near_days
from store.writer import prepare_session, write_batch
from tests.integration.topics import EVENT, encode

NOW = datetime(2031, 5, 4, 12, tzinfo=UTC)


def test_days_are_created_once_and_rows_of_the_default_partition_move_into_theirs(
    database_url_each: str,
) -> None:
    """An attempt that finished on a day without a partition is found in its own one as soon as that exists."""
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


def _partition(connection: psycopg.Connection) -> str:
    row = connection.execute("SELECT tableoid::regclass::text FROM attempts").fetchone()
    assert row is not None
    name: str = row[0]
    return name.removeprefix("jobtrail.")
