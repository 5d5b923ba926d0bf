"""Retries of dead letters on a real Postgres: killed at every step, beside other writers, with rows that it refuses."""

import multiprocessing
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest

from consumers.retry import Retried, retry
from derive.fold import fold
from derive.rows import Batch, DeadLetter
from schemas.contract import SCHEMA_TEXT, Event
from schemas.decode import decoder
from schemas.errors import DecodeError
from servers.postgres_programs import NEWEST
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.dead_letters import DeadLetterFilter
from store.writing.writer import prepare_session, write_batch
from testing.databases import Databases
from testing.topics import EVENT, encode
from tests.law.tables import difference, read_tables

US = 10**6
NOW_US = 1_790_000_000 * US
ALL = DeadLetterFilter()
decode_payload = decoder(SCHEMA_TEXT)


def decode(letter: DeadLetter) -> Event:
    return decode_payload(letter.payload)


def letter_of(number: int, reason: str = "unknown_schema", **fields: Any) -> DeadLetter:
    """Return a valid event that was kept as a dead letter because its schema was not available."""
    event = {**EVENT, "occurred_at": NOW_US + number * US, "job_id": f"job-{number}", **fields}
    if number % 5 == 0 and "state" not in fields:
        event |= {"state": "discarded", "error": {"type": "E", "message": f"no {number}"}}
    return DeadLetter(
        "persistent://t/n/events-partition-0",
        f"(1,{number},0,-1)",
        reason,
        "as it was",
        encode({**event, "parent_job_id": "root"}),
        "",
        NOW_US,
        7,
    )


def letter_of_garbage(number: int) -> DeadLetter:
    return letter_of(number)._replace(payload=b"\x07")


def session(url: str) -> psycopg.Connection:
    connection = connect(DatabaseSettings.load(database_url=url), "jobtrail tests")
    prepare_session(connection)
    return connection


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with closing(session(database_url)) as opened:
        yield opened


def keep(connection: psycopg.Connection, *letters: DeadLetter) -> None:
    write_batch(connection, Batch(dead_letters=list(letters)))


def kept(connection: psycopg.Connection) -> Counter[str]:
    with connection.transaction():
        return Counter(reason for (reason,) in connection.execute("SELECT reason FROM dead_letters"))


def count(connection: psycopg.Connection, query: str) -> int:
    with connection.transaction():
        row = connection.execute(query).fetchone()
    assert row is not None
    return int(row[0] or 0)


def test_events_that_can_be_read_now_are_stored_and_their_dead_letters_deleted(
    connection: psycopg.Connection,
) -> None:
    """A second retry changes nothing."""
    keep(connection, *(letter_of(number) for number in range(1_234)))
    parts: list[int] = []
    done = retry(connection, decode, ALL, on_part=lambda so_far: parts.append(so_far.tried))
    assert done == Retried(tried=1_234, stored=1_234)
    assert parts == [500, 1_000, 1_234], "in bounded parts"
    assert kept(connection) == {}
    assert count(connection, "SELECT sum(completed + discarded) FROM outcomes_hourly") == 1_234
    assert count(connection, "SELECT sum(occurrence_count) FROM failure_groups") == 247
    assert count(connection, "SELECT count(*) FROM lineage_edges") == 1_234
    assert retry(connection, decode, ALL) == Retried()


def test_a_dead_letter_that_still_cannot_be_read_gets_the_present_reason(
    connection: psycopg.Connection,
) -> None:
    keep(connection, letter_of(1), letter_of_garbage(2), letter_of(3, worker="a\0b"))
    done = retry(connection, decode, ALL)
    assert done == Retried(tried=3, stored=1, left=Counter(malformed=1, nul_in_text=1))
    assert kept(connection) == {"malformed": 1, "nul_in_text": 1}
    ((payload, detail),) = connection.execute(
        "SELECT payload, detail FROM dead_letters WHERE reason = 'malformed'"
    ).fetchall()
    assert bytes(payload) == b"\x07"
    assert "1 bytes are not a JobEvent" in detail


def test_a_given_schema_that_fits_only_some_leaves_the_others_their_reason(
    connection: psycopg.Connection,
) -> None:
    keep(connection, letter_of(1), letter_of_garbage(2))
    done = retry(connection, decode, ALL, keep_reasons=True)
    assert done == Retried(tried=2, stored=1, left=Counter(unknown_schema=1))
    assert kept(connection) == {"unknown_schema": 1}


def test_a_truncated_dead_letter_is_not_tried(connection: psycopg.Connection) -> None:
    """The part that was kept may happen to decode."""
    keep(connection, letter_of(1, "too_large"), letter_of(2, "encrypted"))
    assert retry(connection, decode, ALL).left == {"too_large": 1, "encrypted": 1}
    assert kept(connection) == {"too_large": 1, "encrypted": 1}


def test_only_the_chosen_dead_letters_are_tried(connection: psycopg.Connection) -> None:
    other = letter_of(3)._replace(topic="persistent://t/n/other-partition-0")
    keep(connection, letter_of(1), letter_of(2, "foreign_schema"), other)
    assert retry(connection, decode, DeadLetterFilter(reason="foreign_schema")).stored == 1
    assert retry(connection, decode, DeadLetterFilter(topic=other.topic)).stored == 1
    assert kept(connection) == {"unknown_schema": 1}
    assert retry(connection, decode, DeadLetterFilter(message_id="(1,9,0,-1)")).tried == 0
    assert retry(connection, decode, DeadLetterFilter(message_id="(1,1,0,-1)")).stored == 1


def test_dead_letters_that_postgres_refuses_stay(connection: psycopg.Connection) -> None:
    connection.execute("ALTER TABLE jobs ADD CONSTRAINT no_poison CHECK (external_id <> 'poison')")
    connection.commit()
    keep(connection, *(letter_of(number) for number in range(60)), letter_of(61, external_id="poison"))
    done = retry(connection, decode, ALL)
    assert done == Retried(tried=61, stored=60, left=Counter(refused_by_database=1))
    assert kept(connection) == {"refused_by_database": 1}
    assert count(connection, "SELECT count(*) FROM attempts") == 60
    connection.execute("ALTER TABLE jobs DROP CONSTRAINT no_poison")
    connection.commit()
    assert retry(connection, decode, DeadLetterFilter(reason="refused_by_database")).stored == 1


def test_dead_letters_from_before_the_horizon_are_removed_and_counted_as_expired(
    connection: psycopg.Connection, database_url: str
) -> None:
    """As if they came now. The horizon advances while the dead letters are being read, so they are folded again."""
    keep(connection, letter_of(1), letter_of(2), letter_of(3, occurred_at=NOW_US + 30 * 86_400 * US))

    def decode_slowly(letter: DeadLetter) -> Event:
        with psycopg.connect(database_url) as other:
            horizon = datetime.fromtimestamp(NOW_US / US + 86_400, UTC).replace(hour=0, minute=0, second=0)
            other.execute("UPDATE jobtrail_control.horizon SET horizon_at = %s", [horizon])
        return decode(letter)

    assert retry(connection, decode_slowly, ALL) == Retried(tried=3, stored=1, expired=2)
    assert kept(connection) == {}
    assert count(connection, "SELECT count(*) FROM jobs") == 1


def test_a_redelivery_that_waits_for_the_retry_counts_nothing_twice(
    connection: psycopg.Connection, database_url: str
) -> None:
    """It comes once as an event, from a consumer that can read it, and once as a dead letter, from one that cannot."""
    one, two = letter_of(1), letter_of(2)
    keep(connection, one, two)
    as_event = fold([decode(one)])
    as_letter = Batch(dead_letters=[two])
    writers = [
        threading.Thread(target=_write_once, args=(database_url, batch)) for batch in (as_event, as_letter)
    ]

    def redeliver(step: str) -> None:
        if step == "remove_dead_letters":
            for writer in writers:
                writer.start()
            _wait_for_waiting(database_url, 2)

    assert retry(connection, decode, ALL, reached=redeliver).stored == 2
    for writer in writers:
        writer.join(30)
    # The consumer that still could not read it stored the dead letter again: a second retry finds nothing new in it.
    assert kept(connection) == {"unknown_schema": 1}
    assert count(connection, "SELECT sum(completed) FROM outcomes_hourly") == 2
    assert retry(connection, decode, ALL).stored == 1
    assert kept(connection) == {}
    assert count(connection, "SELECT sum(completed) FROM outcomes_hourly") == 2


def test_killed_at_any_step_it_loses_nothing_and_counts_nothing_twice(
    database_url: str, connection: psycopg.Connection, databases_of: Callable[[int], Databases]
) -> None:
    """An aggregator receives the same messages meanwhile. At any moment, each is a dead letter or counted once."""
    letters = [letter_of(number) for number in range(1_100)]
    senseless = [letter_of_garbage(number) for number in range(2_000, 2_003)]
    keep(connection, *letters, *senseless)
    over = threading.Event()
    aggregator = threading.Thread(target=_redeliver, args=(database_url, letters, over))
    aggregator.start()
    try:
        steps_killed = [_killed_retry(database_url, at, connection, len(letters)) for at in range(1, 15)]
        assert len(set(steps_killed)) >= 9, f"killed at {steps_killed}"
        done = retry(connection, decode, ALL)
    finally:
        over.set()
        aggregator.join(60)
    assert done.left == {"malformed": 3}
    retry(connection, decode, ALL)
    with databases_of(NEWEST).migrated() as expected_url, closing(session(expected_url)) as expected:
        write_batch(expected, fold(map(decode, letters), [_now_malformed(one) for one in senseless]))
        assert difference(read_tables(expected), read_tables(connection)) == []
    assert count(connection, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


def _now_malformed(letter: DeadLetter) -> DeadLetter:
    try:
        decode(letter)
    except DecodeError as error:
        return letter._replace(reason=error.reason, detail=error.detail)
    raise AssertionError("expected garbage, got an event")


def _killed_retry(url: str, at: int, connection: psycopg.Connection, events: int) -> str:
    """Run a retry in a process that kills itself after ``at`` steps; return the last step."""
    # Not forked from the test's process, which has connections and threads; preloaded, so that a new one is cheap.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pytest", "tests.integration.test_retry"])
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_retry_until_killed, args=(url, at, theirs))
    process.start()
    theirs.close()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    step: str = ours.recv()
    left = count(
        connection, "SELECT count(*) FROM dead_letters WHERE message_id LIKE '(1,%' AND payload <> '\\x07'"
    )
    # One statement sees one moment, while the aggregator goes on.
    apart = "SELECT (SELECT coalesce(sum(completed + discarded), 0) FROM outcomes_hourly) - (SELECT count(*) FROM attempts)"
    assert count(connection, apart) == 0
    ends = count(connection, "SELECT sum(completed + discarded) FROM outcomes_hourly")
    assert left + ends >= events, f"lost at {step}"
    return step


def _retry_until_killed(url: str, at: int, pipe: Any) -> None:
    reached = 0

    def kill_when_due(step: str) -> None:
        nonlocal reached
        reached += 1
        if reached == at:
            pipe.send(step)
            os.kill(os.getpid(), signal.SIGKILL)

    with closing(session(url)) as connection:
        # Readable events go in parts of their own, so that a kill in a later part comes after a commit.
        retry(connection, decode, ALL, reached=kill_when_due)
        while True:  # the last steps are after the commit
            kill_when_due("after commit")


def _redeliver(url: str, letters: list[DeadLetter], over: threading.Event) -> None:
    """Write some of the messages again, in another order, as an aggregator does, until ``over`` is set."""
    chance = random.Random(1)
    with closing(session(url)) as connection:
        while not over.wait(0.05):
            write_batch(connection, fold(map(decode, chance.sample(letters[:300], 50))))


def _write_once(url: str, batch: Batch) -> None:
    with closing(session(url)) as connection:
        write_batch(connection, batch)


def _wait_for_waiting(url: str, sessions: int) -> None:
    with psycopg.connect(url, autocommit=True) as observer:
        for _ in range(600):
            row = observer.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if row == (sessions,):
                return
            over = threading.Event()
            over.wait(0.05)
    raise AssertionError(f"expected {sessions} writers to wait for the retry")
