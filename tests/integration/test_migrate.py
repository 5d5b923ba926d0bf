"""Migrations: atomic, one at a time, and refused if this code does not fit the database."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store import migrate as migrations
from store.connection import connect
from store.migrate import check_version, migrate, released

NAMES = [
    "0001_control",
    "0002_derived",
    "0003_triage",
    "0004_answer_indexes",
    "0005_reused_ids",
    "0006_runs",
    "0007_open_horizon",
]


def session(url: str) -> psycopg.Connection[Any]:
    return connect(DatabaseSettings.load(database_url=url), "jobtrail migrate")


@pytest.fixture
def connection(empty_database_url_each: str) -> Iterator[psycopg.Connection[Any]]:
    with session(empty_database_url_each) as open_session:
        yield open_session


def test_the_second_migration_finds_nothing_to_do(connection: psycopg.Connection[Any]) -> None:
    """The database then has this code's version."""
    assert migrate(connection) == NAMES
    assert migrate(connection) == []
    check_version(connection)


def test_two_processes_that_migrate_at_once_apply_each_migration_once(empty_database_url_each: str) -> None:
    """All replicas of a new release migrate when they start."""
    both_ready = threading.Barrier(2)
    applied: list[list[str]] = []

    def start() -> None:
        with session(empty_database_url_each) as own:
            both_ready.wait(10)
            applied.append(migrate(own))

    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(applied, key=len) == [[], NAMES]


def test_a_migration_that_fails_leaves_nothing(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its tables and its version row are stored together or not at all; earlier migrations stay."""
    good = released()
    bad = replace(good[2], text="CREATE TABLE half_done (id integer); SELECT 1 / 0;")
    monkeypatch.setattr(migrations, "released", lambda: [*good[:2], bad])
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(connection)
    versions = connection.execute("SELECT version FROM jobtrail_control.migrations ORDER BY 1").fetchall()
    assert versions == [(1,), (2,)]
    assert connection.execute("SELECT to_regclass('jobtrail_triage.half_done')").fetchone() == (None,)


def test_the_upgrade_marks_attempts_that_had_ended_twice(
    connection: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The migration finds reused ids that the tables show; a rebuild finds those that only the topic shows."""
    every = released()
    with monkeypatch.context() as patch:
        patch.setattr(migrations, "released", lambda: every[:3])
        migrate(connection)
    connection.execute("SET search_path = jobtrail")
    for job, attempt, ends in (("twice", 1, 2), ("once", 1, 1), ("earlier", 2, 2)):
        connection.execute(
            "INSERT INTO jobs (namespace, job_id, attempt, state_rank, occurred_at, state, worker, queue, max_attempts, "
            "release, executor, error_category, error_type, latest_at, root_job_id, parent_job_id, depth) "
            "VALUES ('n', %s, %s, 5, now(), 'completed', 'w', '', 0, '', '', '', '', now(), '', '', -1)",
            [job, attempt],
        )
        for number in range(ends):
            connection.execute(
                "INSERT INTO attempts (namespace, job_id, attempt, finished_at, digest, state, worker, queue, source, "
                "max_attempts, external_id, release, executor) VALUES ('n', %s, 1, now() - %s * interval '1 hour', "
                "gen_random_uuid(), 'completed', 'w', '', '', 0, '', '', '')",
                [job, number],
            )
    connection.commit()
    migrate(connection)
    marked = connection.execute("SELECT job_id FROM jobs WHERE is_repeated ORDER BY job_id").fetchall()
    assert marked == [("twice",)]


def test_code_that_is_too_old_refuses_the_database(connection: psycopg.Connection[Any]) -> None:
    """The database stores the oldest migration that a program must know."""
    migrate(connection)
    later = len(NAMES) + 1
    connection.execute(
        "INSERT INTO jobtrail_control.migrations VALUES (%s, %s, 'a_later_one')", [later + 1, later]
    )
    connection.commit()
    for refused in (check_version, migrate):
        with pytest.raises(
            StoreError, match=rf"needs code that knows at least migration {later}\b.*Update this program"
        ):
            refused(connection)


def test_the_previous_release_goes_on_after_a_compatible_migration(
    connection: psycopg.Connection[Any],
) -> None:
    """A later migration that old code can live with stops no program."""
    migrate(connection)
    connection.execute(
        "INSERT INTO jobtrail_control.migrations VALUES (%s, 3, 'a_new_index')", [len(NAMES) + 1]
    )
    connection.commit()
    check_version(connection)


def test_a_database_that_was_not_migrated_is_refused_with_the_cure(
    connection: psycopg.Connection[Any],
) -> None:
    """The error names the command to run."""
    with pytest.raises(StoreError, match="Run `jobtrail migrate` first"):
        check_version(connection)


def test_every_constraint_has_an_explicit_name(connection: psycopg.Connection[Any]) -> None:
    """Generated names such as …_check1 tell an operator nothing; …_not_null is excepted."""
    migrate(connection)
    names = connection.execute(
        "SELECT conname FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid "
        "WHERE connamespace::regnamespace::text LIKE 'jobtrail%' AND contype <> 'n' AND NOT relispartition"
    ).fetchall()
    assert names
    assert all(name.endswith(("_pkey", "_check")) and not name[-1].isdigit() for (name,) in names)
