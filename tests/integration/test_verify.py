"""`store.verify` finds no difference in what the real writer wrote, and names every row that was changed by hand."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from psycopg import sql

from schemas.contract import Event
from schemas.errors import StoreError
from servers.postgres_programs import NEWEST
from settings.database import DatabaseSettings
from store.connection import connect
from store.verify.difference import TABLES, Difference
from store.verify.run import Progress, unknown_upstreams, verify
from testing.databases import Databases
from tests.integration.story import ago, event, failure, placed, root_of, store_events
from tests.law.oracle import COLUMNS

KRAKOW = {"source": "krakow"}


def story() -> list[Event]:
    """Return a run with one job of each kind, and an old job in the default partition."""
    slow = failure("timeout", "movie 17 took 31 s")
    gone = failure("gone", "movie 17 is gone")
    under = placed("r", "r", 1)
    begun = {"enqueued_at": ago(minutes=50), "started_at": ago(minutes=40)}
    return [
        event("SyncJob", "r", "completed", ago(minutes=30), args='{"page": 1}', **KRAKOW, **root_of("r")),
        event("PageJob", "a", "retryable", ago(hours=26), error=slow, **KRAKOW, **under),
        event(
            "PageJob",
            "a",
            "completed",
            ago(minutes=9),
            attempt=2,
            external_id="movie:17",
            **KRAKOW,
            **under,
            **begun,
        ),
        event(
            "PageJob",
            "b",
            "discarded",
            ago(minutes=8),
            error=slow,
            **KRAKOW,
            **under,
            depends_on=["a", "nobody"],
        ),
        event("PageJob", "c", "executing", ago(minutes=7), **KRAKOW, **under),
        event("PageJob", "d", "cancelled", ago(minutes=6), source="warsaw", **under),
        event("PageJob", "e", "discarded", ago(minutes=5), error=gone, source="warsaw", **under),
        event("NightlyJob", "n", "completed", ago(hours=28), **root_of("n")),
        event("NightlyJob", "n", "completed", ago(hours=4), **root_of("n")),
        event("OldJob", "o", "completed", ago(days=40), **root_of("o")),
        event("OldJob", "p", "retryable", ago(days=40), error=slow, **root_of("p")),
    ]


@pytest.fixture(scope="module")
def story_database(databases_of: Callable[[int], Databases]) -> Iterator[psycopg.Connection]:
    """Yield a database with the story, and with a copy of every row."""
    with databases_of(NEWEST).migrated() as url, closing(store_events(url, story())) as connection:
        connection.execute("CREATE SCHEMA kept")
        for table in map(sql.Identifier, COLUMNS):
            connection.execute(sql.SQL("CREATE TABLE kept.{0} AS TABLE {0}").format(table))
        yield connection


@pytest.fixture
def kino(story_database: psycopg.Connection) -> Iterator[psycopg.Connection]:
    """Yield a connection to it, and restore the rows after the test."""
    yield story_database
    with story_database.transaction():
        for table in map(sql.Identifier, COLUMNS):
            story_database.execute(sql.SQL("DELETE FROM {}").format(table))
            story_database.execute(sql.SQL("INSERT INTO {0} SELECT * FROM kept.{0}").format(table))


def found_in(connection: psycopg.Connection, **asked: Any) -> list[Difference]:
    return list(verify(connection, **asked))


def rows_of(found: list[Difference]) -> set[tuple[str, str, str | None]]:
    """Return the table, row and column of each difference; one part of the key identifies a row here."""
    return {(each.table, _name(each.key), each.column) for each in found}


def _name(key: dict[str, Any]) -> str:
    for column in ("job_id", "source"):
        if column in key:
            return str(key[column])
    return "group"


def test_what_the_writer_wrote_has_no_difference(kino: psycopg.Connection) -> None:
    slices: list[Progress] = []
    assert list(verify(kino, progress=slices.append)) == []
    assert {done.table for done in slices} == set(TABLES)
    assert unknown_upstreams(kino) == 1


def test_the_oldest_postgres_verifies_as_well(database_url_each: str) -> None:
    with closing(store_events(database_url_each, story())) as connection:
        assert found_in(connection) == []
        connection.execute("UPDATE jobs SET attempt = 1 WHERE job_id = 'a'")
        # The end of the first attempt then looks like a second end of this one.
        assert rows_of(found_in(connection)) == {("jobs", "a", "attempt"), ("jobs", "a", "is_repeated")}


def test_an_empty_database_has_no_difference(database_url_each: str) -> None:
    settings = DatabaseSettings.load(database_url=database_url_each)
    with closing(connect(settings, "jobtrail test")) as connection:
        assert found_in(connection) == []


def test_an_open_transaction_of_the_caller_is_refused(kino: psycopg.Connection) -> None:
    with kino.transaction(), pytest.raises(StoreError, match="without an open transaction"):
        found_in(kino)


@dataclass(frozen=True)
class Spoilt:
    """A change by hand, and the rows and columns that must be found."""

    done: str
    found: set[tuple[str, str, str | None]]


GROUP_OF_E = "(SELECT failure_group_id FROM attempts WHERE job_id = 'e')"
SPOILT = [
    *(
        Spoilt(
            f"UPDATE outcomes_hourly SET {state} = {state} + 1 WHERE source = 'warsaw'",
            {("outcomes_hourly", "warsaw", state)},
        )
        for state in ("completed", "retryable", "discarded", "cancelled")
    ),
    Spoilt("DELETE FROM outcomes_hourly WHERE source = 'warsaw'", {("outcomes_hourly", "warsaw", None)}),
    Spoilt("DELETE FROM outcomes_hourly WHERE worker = 'OldJob'", {("outcomes_hourly", "", None)}),
    Spoilt(
        "INSERT INTO outcomes_hourly VALUES ('kino', 'berlin', 'w', 'q', '2026-01-01T00:00Z', 0, 0, 0, 0)",
        {("outcomes_hourly", "berlin", None)},
    ),
    Spoilt(
        f"UPDATE failure_groups_hourly SET occurrence_count = 9 WHERE failure_group_id = {GROUP_OF_E}",
        {("failure_groups_hourly", "group", "occurrence_count")},
    ),
    Spoilt(
        f"UPDATE failure_groups_hourly SET title = 'x' WHERE failure_group_id = {GROUP_OF_E}",
        {("failure_groups_hourly", "group", "title")},
    ),
    Spoilt(
        "UPDATE failure_group_jobs SET last_finished_at = last_finished_at - interval '1 microsecond' WHERE job_id = 'b'",
        {("failure_group_jobs", "b", "last_finished_at")},
    ),
    Spoilt(
        f"DELETE FROM failure_groups_hourly WHERE failure_group_id = {GROUP_OF_E}",
        {("failure_groups_hourly", "group", None)},
    ),
    Spoilt(
        "INSERT INTO failure_groups_hourly VALUES (gen_random_uuid(), '2026-01-01T00:00Z', 1, 'x')",
        {("failure_groups_hourly", "group", None)},
    ),
    *(
        Spoilt(
            f"UPDATE failure_groups SET {column} = {value} WHERE id = {GROUP_OF_E}",
            {("failure_groups", "group", column)},
        )
        for column, value in {
            "namespace": "'x'",
            "source": "'x'",
            "error_category": "'x'",
            "error_type": "'x'",
            "fingerprint": "'x'",
            "title": "'x'",
            "occurrence_count": "9",
            "job_count": "0",
            "first_seen_at": "first_seen_at - interval '1 microsecond'",
            "last_seen_at": "last_seen_at + interval '1 microsecond'",
        }.items()
    ),
    Spoilt(f"DELETE FROM failure_groups WHERE id = {GROUP_OF_E}", {("failure_groups", "group", None)}),
    Spoilt(
        "INSERT INTO failure_groups SELECT gen_random_uuid(), 'x', 'x', 'x', 'x', 'x', 'x', 0, 0, now(), now()",
        {("failure_groups", "group", None)},
    ),
    Spoilt("DELETE FROM failure_group_jobs WHERE job_id = 'b'", {("failure_group_jobs", "b", None)}),
    Spoilt(
        f"INSERT INTO failure_group_jobs SELECT {GROUP_OF_E}, 'c', now()",
        {("failure_group_jobs", "c", None)},
    ),
    *(
        Spoilt(f"UPDATE jobs SET {column} = {value} WHERE job_id = '{job}'", {("jobs", job, column)})
        for job, column, value in [
            ("e", "worker", "'x'"),
            ("e", "queue", "'x'"),
            ("e", "max_attempts", "99"),
            ("e", "scheduled_at", "now()"),
            ("e", "release", "'x'"),
            ("e", "executor", "'x'"),
            ("e", "error_category", "'x'"),
            ("e", "error_type", "'x'"),
            ("e", "failure_group_id", "gen_random_uuid()"),
            ("e", "state_rank", "5"),
            ("c", "state_rank", "2"),
            ("c", "failure_group_id", "gen_random_uuid()"),
            ("a", "source", "NULL"),
            ("a", "external_id", "'movie:99'"),
            ("a", "enqueued_at", "NULL"),
            ("a", "started_at", "started_at + interval '1 microsecond'"),
            ("r", "args_attempt", "NULL"),
            ("r", "args_rank", "NULL"),
            ("r", "args_occurred_at", "NULL"),
            ("c", "latest_at", "latest_at - interval '1 microsecond'"),
            ("c", "earliest_at", "occurred_at + interval '1 microsecond'"),
            ("a", "is_repeated", "true"),
            ("c", "is_repeated", "true"),
            ("a", "is_repeated", "false"),
            ("n", "is_repeated", "NULL"),
        ]
    ),
    Spoilt(
        "UPDATE jobs SET latest_at = latest_at - interval '1 day' WHERE job_id = 'o'",
        {("jobs", "o", "latest_at")},
    ),
    Spoilt(
        "UPDATE jobs SET attempt = 1 WHERE job_id = 'a'",
        {("jobs", "a", "attempt"), ("jobs", "a", "is_repeated")},
    ),
    Spoilt(
        "UPDATE jobs SET failure_group_id = NULL WHERE job_id = 'e'",
        {("jobs", "e", "failure_group_id")},
    ),
    Spoilt(
        "UPDATE jobs SET occurred_at = occurred_at - interval '1 second' WHERE job_id = 'a'",
        {("jobs", "a", "occurred_at")},
    ),
    Spoilt(
        "UPDATE jobs SET state = 'completed', state_rank = 5, failure_group_id = NULL WHERE job_id = 'c'",
        {("attempts", "c", None)},
    ),
    Spoilt("DELETE FROM jobs WHERE job_id = 'o'", {("jobs", "o", None)}),
    Spoilt("DELETE FROM jobs WHERE job_id = 'c'", {("lineage_edges", "c", None)}),
    Spoilt("UPDATE jobs SET parent_job_id = 'a' WHERE job_id = 'd'", {("lineage_edges", "d", None)}),
    Spoilt("DELETE FROM lineage_edges WHERE job_id = 'd'", {("lineage_edges", "d", None)}),
    Spoilt("INSERT INTO lineage_edges VALUES ('kino', 'r', 'x', 'spawned')", {("lineage_edges", "x", None)}),
    Spoilt(
        "INSERT INTO lineage_edges VALUES ('kino', 'r', 'r', 'depends_on')", {("lineage_edges", "r", None)}
    ),
    Spoilt(
        "DELETE FROM attempts WHERE job_id = 'd'",
        {("outcomes_hourly", "warsaw", "cancelled"), ("attempts", "d", None)},
    ),
    Spoilt(
        "DELETE FROM attempts WHERE job_id = 'e'",
        {
            ("outcomes_hourly", "warsaw", "discarded"),
            ("failure_groups_hourly", "group", None),
            ("failure_groups", "group", None),
            ("failure_group_jobs", "e", None),
            ("attempts", "e", None),
        },
    ),
    Spoilt(
        "UPDATE attempts SET error_message = 'something else' WHERE job_id = 'e'",
        {("attempts", "group", "failure_group_id")},
    ),
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: spoilt.done[:90])
def test_every_change_by_hand_is_found(kino: psycopg.Connection, spoilt: Spoilt) -> None:
    assert kino.execute(spoilt.done.encode()).rowcount > 0
    assert rows_of(found_in(kino)) == spoilt.found
