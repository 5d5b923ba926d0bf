"""Partitions of ``attempts``: one a day of UTC, created before the day comes; other days fall into the default one.

Creating one takes ACCESS EXCLUSIVE on the default partition and scans that twice, without an index: once to move out the
rows of the day, once in Postgres's check that none is left. Until it commits, whoever reads `attempts` or writes a row
without a partition waits. With an empty default partition, as it is when days are created in time, that is
milliseconds; with a million rows in it, seconds. While the lock is waited for, others queue behind; so it is given up
soon (LockNotAvailable), and whoever calls tries again later.
"""

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

DAYS_BACK = 8
DAYS_AHEAD = 7
LOCK_TIMEOUT = "2s"


def ensure_near_days(connection: psycopg.Connection, now: datetime | None = None) -> list[str]:
    """Create the partitions of the days around now that are missing, each in a transaction; returns their names.

    Raises psycopg.errors.LockNotAvailable when the default partition was in use for too long; those before it stay.
    """
    today = (now or datetime.now(UTC)).date()
    created = []
    for offset in range(-DAYS_BACK, DAYS_AHEAD + 1):
        name = _create(connection, today + timedelta(days=offset))
        if name:
            created.append(name)
    return created


def _create(connection: psycopg.Connection, day: date) -> str | None:
    name = f"attempts_{day:%Y%m%d}"
    start, end = f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"
    with connection.transaction():
        if _exists(connection, name):
            return None
        # One at a time; and rows that came before their partition are moved out of the default one.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('jobtrail.partitions'))")
        if _exists(connection, name):
            return None
        table = sql.Identifier(name)
        connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        connection.execute(sql.SQL("LOCK TABLE attempts_default IN ACCESS EXCLUSIVE MODE"))
        connection.execute(
            sql.SQL("CREATE TABLE {} (LIKE attempts INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(table)
        )
        connection.execute(
            sql.SQL(
                "WITH early AS (DELETE FROM attempts_default WHERE finished_at >= {start} AND finished_at < {end}"
                " RETURNING *) INSERT INTO {table} SELECT * FROM early"
            ).format(start=sql.Literal(start), end=sql.Literal(end), table=table)
        )
        connection.execute(
            sql.SQL(
                "ALTER TABLE attempts ATTACH PARTITION {table} FOR VALUES FROM ({start}) TO ({end})"
            ).format(table=table, start=sql.Literal(start), end=sql.Literal(end))
        )
    return name


def _exists(connection: psycopg.Connection, name: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", [name]).fetchone()
    return bool(row and row[0])
