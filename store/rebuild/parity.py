"""Compares the rebuilt tables with those they replaced: table by table, row by row, in Postgres, in bounded memory.

The log may be ahead of the old tables, never behind, and the new tables have been live since the swap. So a row that is
only in the new tables, or has more than the old one, is explained; so is a row older than the kept history. Everything else is
unexplained, and shown with examples: the old tables had something that the topic does not have. The rules are views, in
parity.sql.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import psycopg
from psycopg import sql

from store.connection import OLD_SCHEMA, SCHEMA
from store.queries import queries

EXAMPLES: Final = 5

_OF_GROUPS: Final = ("failure_groups", "failure_group_jobs", "failure_groups_hourly")
"""Tables whose rows depend on the version of the fingerprint."""
_TABLES: Final = (
    "jobs",
    "attempts",
    "lineage_edges",
    "dead_letters",
    *_OF_GROUPS,
    "outcomes_hourly",
)

_COUNTS: Final = """
SELECT
    count(*) FILTER (WHERE in_old AND in_new AND same),
    count(*) FILTER (WHERE in_old AND in_new AND NOT same AND ahead IS TRUE),
    count(*) FILTER (WHERE NOT in_old),
    count(*) FILTER (WHERE in_old AND NOT (in_new AND (same OR ahead IS TRUE)) AND aged IS TRUE),
    count(*) FILTER (WHERE in_old AND NOT in_new AND aged IS NOT TRUE),
    count(*) FILTER (WHERE in_old AND in_new AND NOT same AND ahead IS NOT TRUE AND aged IS NOT TRUE)
FROM {view}
"""
_EXAMPLES: Final = """
SELECT key
FROM {view}
WHERE in_old AND NOT (in_new AND (same OR ahead IS TRUE)) AND aged IS NOT TRUE
LIMIT %(examples)s
"""


@dataclass(frozen=True)
class TableParity:
    """Numbers of rows of one table. Those in ``only_old`` and ``different`` are unexplained."""

    table: str
    equal: int
    more: int
    """The new row has all of the old one, and more: from events that had not reached the old tables."""
    only_new: int
    """From events that had not reached the old tables, or dead letters that were purged or retried."""
    given_up: int
    """From before the horizon or the start of reading, or dead letters that are events now."""
    only_old: int
    different: int
    examples: list[dict[str, Any]]
    """Keys of some unexplained rows."""

    @property
    def unexplained(self) -> int:
        """Rows of the old tables that the topic does not explain."""
        return self.only_old + self.different


@dataclass(frozen=True)
class Parity:
    """The comparison of all tables, and what was left out of it."""

    tables: list[TableParity]
    left_out: list[str]
    """Tables that were not compared, because another version of the fingerprint made their rows."""
    triage_without_group: int
    """Number of triage entries of groups that the tables no longer have. The entries are kept."""

    @property
    def unexplained(self) -> int:
        """Unexplained rows of all tables."""
        return sum(table.unexplained for table in self.tables)

    def as_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {**asdict(self), "unexplained": self.unexplained}


def compare(
    connection: psycopg.Connection,
    bound: datetime | None,
    triage_without_group: int,
    history_from: datetime | None = None,
) -> Parity:
    """Compare every live table with the one it replaced. ``bound``: older rows may be missing; None: no row may be missing.

    Open jobs, and what is left of their runs, may be missing only if they are from before ``history_from``, where reading of
    the topic began. The session is in autocommit.
    """
    same_groups = _fingerprint_version(connection, OLD_SCHEMA) == _fingerprint_version(connection, SCHEMA)
    compared = [name for name in _TABLES if same_groups or name not in _OF_GROUPS]
    with connection.transaction():
        for query in queries("parity").values():
            connection.execute(query)
        connection.execute(
            "INSERT INTO parity_rules (bound, history_bound, open_horizon_at, same_groups) "
            "SELECT %s, %s, open_horizon_at, %s FROM jobtrail_control.horizon",
            [bound or "-infinity", history_from or "-infinity", same_groups],
        )
    try:
        tables = [_compare(connection, name) for name in compared]
    finally:
        if not connection.closed:
            for name in _TABLES:
                connection.execute(sql.SQL("DROP VIEW {}").format(sql.Identifier(f"parity_{name}")))
            connection.execute("DROP TABLE parity_rules")
    return Parity(tables, [name for name in _TABLES if name not in compared], triage_without_group)


def _compare(connection: psycopg.Connection, table: str) -> TableParity:
    view = sql.Identifier(f"parity_{table}")
    row = connection.execute(sql.SQL(_COUNTS).format(view=view)).fetchone()
    assert row is not None
    equal, more, only_new, given_up, only_old, different = row
    examples = []
    if (
        only_old or different
    ):  # a separate query, because collecting them with the counts takes unbounded memory
        examples = connection.execute(sql.SQL(_EXAMPLES).format(view=view), {"examples": EXAMPLES}).fetchall()
    return TableParity(
        table, equal, more, only_new, given_up, only_old, different, [key for (key,) in examples]
    )


def _fingerprint_version(connection: psycopg.Connection, schema: str) -> int:
    row = connection.execute(
        sql.SQL("SELECT fingerprint_version FROM {}.derivation").format(sql.Identifier(schema))
    ).fetchone()
    assert row is not None
    version: int = row[0]
    return version
