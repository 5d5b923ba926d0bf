"""Every named query fits the real schema, and somebody uses it."""

import re
from contextlib import closing
from pathlib import Path

import psycopg

from settings.database import DatabaseSettings
from store.connection import connect
from store.queries import queries, subjects
from store.retention.session import Pace, Session
from store.writing.writer import prepare_session

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("store", "consumers", "cli", "demo", "publishers", "testing", "bench")


def unused(asked_for: str) -> list[str]:
    """Names of queries that no line of ``asked_for`` mentions; a file whose queries are all run in turn is used whole."""
    found = []
    for subject in subjects():
        if f'queries("{subject}").values()' not in asked_for:
            found += [f"{subject}.{name}" for name in queries(subject) if f'"{name}"' not in asked_for]
    return found


def test_every_query_is_prepared_by_the_real_schema(database_url_each: str) -> None:
    """What cannot be prepared: the files of temporary tables, run here as the sessions do, and a LOCK."""
    with closing(
        connect(DatabaseSettings.load(database_url=database_url_each), "jobtrail test")
    ) as connection:
        prepare_session(connection)
        with connection.transaction():
            Session(connection, Pace(), batch_rows=1)
        prepared = 0
        for subject in subjects():
            for name, query in queries(subject).items():
                statement = " ".join(line for line in query.splitlines() if not line.startswith("--")).split()
                if statement[0] in ("CREATE", "LOCK"):
                    continue
                _prepare(connection, f"{subject}_{name}", query)
                prepared += 1
        assert prepared > 20


def test_no_query_is_left_that_nothing_uses() -> None:
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    )
    assert unused(code) == []


def test_an_unused_query_would_be_found() -> None:
    assert "answers_lineage.stage_states" in unused("")


def _prepare(connection: psycopg.Connection, name: str, query: str) -> None:
    numbers: dict[str, int] = {}
    text = re.sub(r"%\((\w+)\)s", lambda found: f"${numbers.setdefault(found[1], len(numbers) + 1)}", query)
    with connection.transaction():
        connection.execute(f"PREPARE {name} AS {text.rstrip(';')}".replace("%%", "%").encode())
