"""Dead letters in Postgres: one row per message, whatever its publisher wrote into it."""

import psycopg

from derive.rows import Batch, DeadLetter
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch

LETTER = DeadLetter("persistent://a/b/c-partition-0", "1:2:3:4", "malformed", "", b"x", "", 1_000_000, 0)


def test_dead_letters_of_a_topic_that_was_created_again_are_kept_beside_the_old_ones(
    database_url: str,
) -> None:
    """Its message ids repeat the old ones, with later publish times. A redelivery still changes nothing."""
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests") as connection:
        prepare_session(connection)
        assert write_batch(connection, Batch(dead_letters=[LETTER])).new_dead_letters == 1
        again = LETTER._replace(publish_time_us=2_000_000)
        assert write_batch(connection, Batch(dead_letters=[LETTER, again])).new_dead_letters == 1
        assert _count(connection) == 2


def test_a_schema_version_beyond_four_bytes_is_kept(database_url: str) -> None:
    """The publisher's client writes it, and it may have eight bytes."""
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests") as connection:
        prepare_session(connection)
        for version in (2**40, 2**63 - 1, -(2**63)):
            letter = LETTER._replace(schema_version=version, message_id=str(version))
            write_batch(connection, Batch(dead_letters=[letter]))
        assert _count(connection) == 3


def _count(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT count(*) FROM dead_letters").fetchone()
    assert row is not None
    count: int = row[0]
    return count
