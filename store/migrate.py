"""Applies migrations: each file in one transaction, together with its row in ``jobtrail_control.migrations``.

The header of a file names its schema, and the oldest release of the code (counted in migrations) that can still work with the
database afterwards. So replicas of the previous release continue, and code that is too old refuses to start.
"""

import re
import time
from dataclasses import dataclass
from importlib.resources import files
from typing import LiteralString

import psycopg
from psycopg import sql

from schemas.errors import StoreError
from store import partitions
from store.connection import SCHEMA
from store.locks import Lock, acquire_for_session, release

_HEADER = re.compile(r"^-- schema: (\w+)\n-- minimum compatible: (\d+)\n")
_PARTITION_TRIES = 5
_PARTITION_PAUSE_SECONDS = 1.0
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")


@dataclass(frozen=True)
class Migration:
    """One file of ``store/migrations``."""

    version: int
    name: str
    schema: str
    minimum_compatible: int
    text: LiteralString


def released() -> list[Migration]:
    """Return the migrations of this code, in order. Raises StoreError when a file has no valid name or header."""
    found = []
    for entry in files("store").joinpath("migrations").iterdir():
        named = _FILE.match(entry.name)
        if not named:
            continue
        text = entry.read_text(encoding="utf-8")
        header = _HEADER.match(text)
        if not header:
            raise StoreError(
                f"{entry.name}: expected the lines `-- schema: …` and `-- minimum compatible: …` at its top"
            )
        found.append(
            Migration(
                int(named[1]), named[2], header[1], int(header[2]), text
            )  # trusted: a file of this package
        )
    found.sort(key=lambda migration: migration.version)
    if [migration.version for migration in found] != list(range(1, len(found) + 1)):
        raise StoreError(f"expected migrations numbered 1, 2, …; found {[m.version for m in found]}")
    return found


def migrate(connection: psycopg.Connection) -> list[str]:
    """Bring the database to this code's version, and return the names of the migrations applied.

    Processes that migrate at the same time take turns. Raises StoreError when the database is too new for this code, is not
    in UTF-8, or is too busy to create partitions.
    """
    connection.rollback()
    _require_postgres_15(connection)
    _require_utf8(connection)
    applied = []
    with connection.transaction():
        # Waiting for another migrating process must not fail with lock_timeout.
        connection.execute("SET LOCAL lock_timeout = 0")
        acquire_for_session(connection, Lock.MIGRATION)
    try:
        for migration in released():
            with connection.transaction():
                if migration.version <= _version(connection)[0]:
                    continue
                _apply(connection, migration)
                applied.append(f"{migration.version:04d}_{migration.name}")
        check_version(connection)
        _create_partitions(connection)
    finally:
        if not connection.closed:
            connection.rollback()
            release(connection, Lock.MIGRATION)
            connection.commit()
    return applied


def create_derived(connection: psycopg.Connection, schema: str) -> None:
    """Create the derived tables of this release, empty, in a schema of another name, in the caller's transaction.

    Raises psycopg.errors.DuplicateSchema when the schema exists.
    """
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
    connection.execute("SELECT set_config('search_path', %s, true)", [schema])
    for migration in released():
        if migration.schema == SCHEMA:
            connection.execute(migration.text)


def check_version(connection: psycopg.Connection) -> None:
    """Raise StoreError unless this code can work with the database: neither too old nor too new."""
    with connection.transaction():
        version, minimum = _version(connection)
    known = len(released())
    if minimum > known:
        raise StoreError(
            f"the database is at migration {version}, which needs code that knows at least migration {minimum}; "
            f"this code knows {known}. Update this program."
        )
    if version < known:
        raise StoreError(
            f"the database is at migration {version}, this code needs {known}. Run `jobtrail migrate` first."
        )


def applied_version(connection: psycopg.Connection) -> int:
    """Return the newest migration that the database has; 0 for an empty database."""
    return _version(connection)[0]


def _apply(connection: psycopg.Connection, migration: Migration) -> None:
    connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(migration.schema)))
    connection.execute("SELECT set_config('search_path', %s, true)", [migration.schema])
    connection.execute(migration.text)
    connection.execute(
        "INSERT INTO jobtrail_control.migrations (version, minimum_compatible, name) VALUES (%s, %s, %s)",
        [migration.version, migration.minimum_compatible, migration.name],
    )


def _create_partitions(connection: psycopg.Connection) -> None:
    """Create the partitions of the coming days. Each try keeps what it created; writers continue between tries."""
    for left in reversed(range(_PARTITION_TRIES)):
        try:
            partitions.ensure_near_days(connection)
        except psycopg.errors.LockNotAvailable as error:
            if not left:
                raise StoreError(
                    "every migration is applied, but the partitions of the coming days could not be created: other sessions "
                    f"kept attempts_default locked in {_PARTITION_TRIES} tries. Nothing is lost: rows of days without a "
                    "partition go there. Run `jobtrail migrate` again, or leave it to the aggregator, which tries every hour."
                ) from error
            time.sleep(_PARTITION_PAUSE_SECONDS)
        else:
            return


def _version(connection: psycopg.Connection) -> tuple[int, int]:
    """Return (newest migration applied, oldest migration that code must know); (0, 0) for an empty database."""
    exists = connection.execute("SELECT to_regclass('jobtrail_control.migrations') IS NOT NULL").fetchone()
    if exists is None or not exists[0]:
        return 0, 0
    row = connection.execute(
        "SELECT coalesce(max(version), 0), coalesce(max(minimum_compatible), 0) FROM jobtrail_control.migrations"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def _require_postgres_15(connection: psycopg.Connection) -> None:
    if connection.info.server_version < 150_000:
        raise StoreError(f"expected Postgres 15 or later, got {connection.info.server_version // 10_000}")


def _require_utf8(connection: psycopg.Connection) -> None:
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"expected a database in the encoding UTF8, got {encoding}, which cannot hold every event's text. Create "
            "one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0, and name it in JOBTRAIL_DATABASE_URL."
        )
