"""The database of the universes: created, migrated, cleaned between two universes, and dropped."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import sql

from settings.database import DatabaseSettings
from store.connection import connect
from store.migrate import migrate
from store.partitions import ensure_days
from tests.law.oracle import COLUMNS
from tests.law.universes import EPOCH, NOON

# The order of a locale, where the server supports one: it reveals a forgotten COLLATE "C".
_WITH_ICU = (
    "CREATE DATABASE {} TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE 'en-US' LOCALE 'C' ENCODING 'UTF8'"
)
_WITHOUT = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """Yield the URL of a new, migrated database on this server; it has partitions for some of the universes' days."""
    name = f"law_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server_url, autocommit=True) as administrator:
        try:
            administrator.execute(sql.SQL(_WITH_ICU).format(sql.Identifier(name)))
        except psycopg.errors.FeatureNotSupported:
            administrator.execute(sql.SQL(_WITHOUT).format(sql.Identifier(name)))
        # A deadlock is a failure here, so detect it soon. Many writers are killed, so end their sessions soon.
        administrator.execute(
            sql.SQL("ALTER DATABASE {} SET deadlock_timeout = '100ms'").format(sql.Identifier(name))
        )
        try:
            url = psycopg.conninfo.make_conninfo(server_url, dbname=name)
            with connect(DatabaseSettings.load(database_url=url), "jobtrail-law-ground") as connection:
                migrate(connection)
            yield url
        finally:
            administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def collation(connection: psycopg.Connection[Any]) -> str:
    """Return this database's default order of text."""
    row = connection.execute(
        "SELECT datlocprovider = 'i', datcollate FROM pg_database WHERE datname = current_database()"
    ).fetchone()
    assert row is not None
    return "default collation ICU en-US" if row[0] else f"default collation {row[1]}"


def clean(connection: psycopg.Connection[Any], horizon_us: int | None) -> None:
    """Delete all rows, set this horizon, and create partitions for some of the days after it."""
    empty(connection, horizon_us)
    connection.execute("SET search_path = jobtrail")
    ensure_days(connection, (NOON - timedelta(days=2)).date(), (NOON + timedelta(days=1)).date())


def empty(connection: psycopg.Connection[Any], horizon_us: int | None) -> None:
    """Delete all rows, and set this horizon."""
    for table in COLUMNS:  # cheaper than TRUNCATE for few rows
        connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier("jobtrail", table)))
    connection.execute(
        "UPDATE jobtrail_control.horizon SET horizon_at = %s, open_horizon_at = '-infinity'",
        ["-infinity" if horizon_us is None else _at(horizon_us)],
    )
    connection.execute(
        "UPDATE jobtrail.derivation SET cleared_before = '-infinity', cleared_open_before = '-infinity'"
    )


def _at(time_us: int) -> datetime:
    return EPOCH + timedelta(microseconds=time_us)
