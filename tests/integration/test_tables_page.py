"""docs/tables.md: its tables and columns are the database's, and its queries and roles work unchanged."""

import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from cli import main
from derive.fold import fold
from derive.rows import DeadLetter
from schemas.contract import Event
from servers.postgres import PostgresServer
from settings.database import DatabaseSettings
from store.connection import connect
from store.migrate import migrate
from store.writing.writer import prepare_session, write_batch
from tests.integration.story import ago, event, failure, incident, root_of, store_events

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "tables.md").read_text(encoding="utf-8")
OPERATING = (Path(__file__).resolve().parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")
SCHEMAS = ["jobtrail", "jobtrail_control", "jobtrail_triage"]
READS = ["SELECT", "WITH"]

COLUMNS = """
SELECT
    format('%%s.%%s', relnamespace::regnamespace, relname),
    attname,
    replace(format_type(atttypid, NULL), 'timestamp with time zone', 'timestamptz'),
    NOT attnotnull
FROM pg_attribute
JOIN pg_class ON pg_class.oid = attrelid
WHERE relnamespace::regnamespace::text = ANY (%s) AND relkind IN ('r', 'p') AND NOT relispartition
  AND attnum > 0 AND NOT attisdropped
ORDER BY relnamespace::regnamespace::text, relname, attnum
"""
INDEXES = """
SELECT format('%%s.%%s', relnamespace::regnamespace, relname), indexrelid::regclass::text
FROM pg_index
JOIN pg_class ON pg_class.oid = indrelid
WHERE relnamespace::regnamespace::text = ANY (%s) AND NOT relispartition
"""


def sections(page: str) -> dict[str, str]:
    """Map each heading of the third level to the text below it."""
    parts = re.split(r"^#{2,3} (.+)$", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def blocks(page: str) -> dict[str, list[str]]:
    """Map each heading to the SQL blocks below it."""
    found = {
        name: re.findall(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for name, text in sections(page).items()
    }
    return {name: texts for name, texts in found.items() if texts}


QUERIES = {name: text for name, texts in blocks(PAGE).items() for text in texts if text.split()[0] in READS}


@pytest.fixture(scope="module")
def small_story() -> list[Event]:
    """Return events with something for every query: releases, retries, waiting and executing jobs, failures."""
    failing = {
        "error": failure("timeout", "no answer within 30 s"),
        "started_at": ago(minutes=3),
        "release": "1.4.0",
    }
    return [
        *incident(pages=20, completed=10, expected=20),
        event(
            "PriceJob",
            "price-1",
            "retryable",
            ago(minutes=2),
            external_id="film:3",
            **failing,
            **root_of("price-1"),
        ),
        event("PriceJob", "price-1", "completed", ago(minutes=1), attempt=2, **root_of("price-1")),
    ]


@pytest.fixture
def database(database_url_each: str, small_story: list[Event]) -> Iterator[psycopg.Connection]:
    """Store the events and a dead letter; yield a connection without our settings, as a reader of the page has."""
    letter = DeadLetter(
        "events-partition-0", "1:2:-1:0", "malformed", "2 bytes", b"{}", "", ago(minutes=1), 0
    )
    with closing(store_events(database_url_each, small_story)):
        pass
    with closing(connect(DatabaseSettings.load(database_url=database_url_each), "jobtrail test")) as writing:
        prepare_session(writing)
        write_batch(writing, fold([], [letter]))
    with psycopg.connect(database_url_each, autocommit=True) as connection:
        yield connection


def test_the_page_names_every_table_and_column_of_the_database(database_url_each: str) -> None:
    """Types and nullability are equal. A column that a migration adds needs a line; one that it drops must lose its line."""
    with psycopg.connect(database_url_each) as connection:
        there = [tuple(row) for row in connection.execute(COLUMNS, [SCHEMAS])]
    documented = [
        (name.strip("`"), column, kind, null.strip() != "")
        for name, text in sections(PAGE).items()
        if name.startswith("`")
        for column, kind, null in re.findall(r"^\| `(\w+)` \| ([\w\[\]]+) \|([^|]*)\|", text, re.MULTILINE)
    ]
    assert {
        "without a line": set(there) - set(documented),
        "without a column": set(documented) - set(there),
    } == {
        "without a line": set(),
        "without a column": set(),
    }
    assert len(documented) == len(there), "a column is documented twice"


def test_the_page_names_every_index_of_the_database(database_url_each: str) -> None:
    with psycopg.connect(database_url_each) as connection:
        there = {(table, index.split(".")[-1]) for table, index in connection.execute(INDEXES, [SCHEMAS])}
    documented = {
        (name.strip("`"), index)
        for name, text in sections(PAGE).items()
        if name.startswith("`")
        for index in re.findall(r"^\| `(\w+)` \| [^|]+ \|$", text, re.MULTILINE)
    }
    assert documented == there


def test_every_query_returns_rows(database: psycopg.Connection) -> None:
    found = {name: database.execute(query.encode()).fetchall() for name, query in QUERIES.items()}
    assert [name for name, rows in found.items() if not rows] == []


def test_there_are_a_dozen_queries() -> None:
    assert len(QUERIES) >= 12


def test_a_job_is_traced_to_its_root_although_its_ancestors_form_a_circle(
    database: psycopg.Connection,
) -> None:
    query = QUERIES["Who spawned this job"]
    path = [row[1] for row in database.execute(query.encode())]
    assert path == ["page-000-show-0", "page-000", "12345"]
    database.execute(
        "INSERT INTO jobtrail.lineage_edges (namespace, upstream_job_id, job_id, kind) VALUES ('kino', 'page-000', '12345', 'spawned')"
    )
    assert [row[1] for row in database.execute(query.encode())] == path


def test_jobs_to_run_again_are_those_whose_failure_is_still_their_state(database: psycopg.Connection) -> None:
    (failed,) = database.execute(
        "SELECT count(*) FROM jobtrail.jobs WHERE state = 'discarded' AND error_category = 'movie_not_ready'"
    ).fetchall()
    assert len(database.execute(QUERIES["Which jobs to run again"].encode()).fetchall()) == failed[0]
    database.execute("UPDATE jobtrail.jobs SET state = 'completed' WHERE job_id = 'page-000-show-0'")
    assert len(database.execute(QUERIES["Which jobs to run again"].encode()).fetchall()) == failed[0] - 1


def test_triage_works_as_documented_and_hides_the_group_from_the_new_ones(
    database: psycopg.Connection,
) -> None:
    (statement,) = blocks(PAGE)["Triage a failure group"]
    new = QUERIES["New failure groups of the last 24 hours"].encode()
    before = database.execute(new).fetchall()
    assert [row[1] for row in database.execute(statement.encode())] == ["ignored"]
    assert len(database.execute(new).fetchall()) == len(before) - 1
    assert [row[1] for row in database.execute(statement.encode())] == ["ignored"], (
        "the same statement works again"
    )


def test_the_documented_commands_create_roles_and_database(
    postgres_each: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    small_story: list[Event],
) -> None:
    """The owner migrates and writes; the reader may query by SQL and by the command, but not write."""
    (owner,) = re.findall(
        r"^```sql\n(CREATE ROLE jobtrail LOGIN.*?)^```$", OPERATING, re.MULTILINE | re.DOTALL
    )
    reader, grants = blocks(PAGE)["Roles that only read"]
    with psycopg.connect(postgres_each.url(), autocommit=True) as superuser:
        try:
            for statement in (owner + reader).split(";\n"):
                if statement:
                    superuser.execute(statement.encode())
            _migrate_and_store(postgres_each, grants, small_story)
            url = _url(postgres_each, "jobtrail_reader")
            monkeypatch.setenv("JOBTRAIL_DATABASE_URL", url)
            assert main.run(["runs", "list"]) == 0
            assert "12345" in capsys.readouterr().out
            with psycopg.connect(url) as asking:
                for query in QUERIES.values():
                    assert asking.execute(query.encode()).fetchall() is not None
                with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                    asking.execute("DELETE FROM jobtrail.jobs")
                asking.rollback()
                asking.execute("SET default_transaction_read_only = off")
                asking.commit()
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    asking.execute("DELETE FROM jobtrail.jobs")
        finally:
            superuser.execute("DROP DATABASE IF EXISTS jobtrail WITH (FORCE)")
            for role in ("jobtrail_reader", "jobtrail"):
                superuser.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


def _migrate_and_store(server: PostgresServer, grants: str, small_story: list[Event]) -> None:
    url = _url(server, "jobtrail")
    settings = DatabaseSettings.load(database_url=url)
    with closing(connect(settings, "jobtrail test")) as connection:
        migrate(connection)
    with closing(store_events(url, small_story)) as connection:
        connection.execute(grants.encode())


def _url(server: PostgresServer, role: str) -> str:
    """Return the URL of the documented database for this role, with its password."""
    address = server.url("jobtrail").split("@")[-1]
    return f"postgresql://{role}:{quote('choose one')}@{address}"
