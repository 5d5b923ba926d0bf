"""Partitions of ``attempts``: one per UTC day, created before the day begins. Rows of other days go to the default partition.

Creating one locks the default partition (ACCESS EXCLUSIVE) and scans it twice, without an index: once to move out the rows of
the day, once in Postgres's check that none is left. Until it commits, all sessions wait that read `attempts` or write a row
without a partition. If days are created in time, the default partition is empty and this takes milliseconds; with a million
rows in it, seconds. A queued lock request blocks everyone behind it, so it fails soon (LockNotAvailable), and the caller
retries later.
"""

from datetime import UTC, date, datetime, timedelta

import psycopg
from psycopg import sql

from store.locks import Lock, acquire
from store.queries import queries

_RETENTION = queries("retention")

DAYS_BACK = 8
DAYS_AHEAD = 7
LOCK_TIMEOUT = "2s"


def ensure_near_days(connection: psycopg.Connection, now: datetime | None = None) -> list[str]:
    """Create the missing partitions of the days around now, each in a transaction; return their names.

    Raises psycopg.errors.LockNotAvailable when the default partition was in use for too long; the partitions created before
    that stay.
    """
    today = (now or datetime.now(UTC)).date()
    return ensure_days(connection, today - timedelta(days=DAYS_BACK), today + timedelta(days=DAYS_AHEAD))


def ensure_days(connection: psycopg.Connection, first: date, last: date) -> list[str]:
    """Create the missing partitions of these days, the last one included, each in its own transaction.

    Returns the names of those created, in order of time. Days before the horizon get none, because no rows of those days will
    arrive. Raises psycopg.errors.LockNotAvailable when the default partition was in use for too long; the partitions created
    before that stay.
    """
    with connection.transaction():
        known = connection.execute(_RETENTION["read_horizon_day"]).fetchone()
    if known is not None and known[0] is not None:
        first = max(first, known[0])
    created = []
    for offset in range((last - first).days + 1):
        name = _create(connection, first + timedelta(days=offset))
        if name:
            created.append(name)
    return created


def expired_days(connection: psycopg.Connection, horizon: date) -> list[tuple[date, str]]:
    """Return the days before the horizon that have a partition, with its name, the oldest first."""
    with connection.transaction():
        rows = connection.execute(_RETENTION["day_partitions"]).fetchall()
    days = [(date(int(name[9:13]), int(name[13:15]), int(name[15:17])), name) for (name,) in rows]
    return sorted((day, name) for day, name in days if day < horizon)


def _create(connection: psycopg.Connection, day: date) -> str | None:
    name = f"attempts_{day:%Y%m%d}"
    start, end = f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"
    with connection.transaction():
        if _exists(connection, name):
            return None
        # One process at a time. Rows that came before their partition are moved out of the default one.
        acquire(connection, Lock.PARTITIONS)
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
    row = connection.execute(_RETENTION["has_partition"], {"name": name}).fetchone()
    return bool(row and row[0])
