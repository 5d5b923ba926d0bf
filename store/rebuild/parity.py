"""How the rebuilt tables compare to those they replaced: table by table, row by row, in Postgres, in bounded memory.

The log may be ahead of what had been aggregated, never behind: so a row that is only in the new tables, or says more
than the old one did, is explained; and so is what is older than the time from which history was kept. What is left is
unexplained and shown with examples: the old tables knew something that the topic does not say.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

import psycopg
from psycopg import sql

from store.connection import OLD_SCHEMA, SCHEMA

EXAMPLES: Final = 5


class _Table(NamedTuple):
    """``ahead``: the new row says what the old one said, and more. ``aged``: the old row concerns what was given up."""

    name: str
    key: tuple[str, ...]
    ahead: str
    aged: str
    of_groups: bool = False
    """Its rows are other ones under another version of the fingerprint."""


# In the conditions `o` is the old row, `n` the new one, and %(bound)s the time before which history was given up.
_TABLES: Final = (
    _Table(
        "jobs",
        ("namespace", "job_id"),
        ahead="(n.attempt, n.state_rank, n.occurred_at) >= (o.attempt, o.state_rank, o.occurred_at)"
        " AND n.latest_at >= o.latest_at"
        " AND (o.source IS NULL OR n.source <= o.source) AND (o.external_id IS NULL OR n.external_id <= o.external_id)"
        " AND (o.root_job_id = '' OR n.root_job_id <= o.root_job_id AND n.root_job_id <> '')"
        " AND (o.args IS NULL OR n.args IS NOT NULL)",
        aged="least(o.occurred_at, o.enqueued_at, o.started_at, o.args_occurred_at) < %(bound)s",
    ),
    _Table(
        "attempts",
        ("namespace", "job_id", "attempt", "finished_at", "digest"),
        ahead="false",  # an attempt that is over never changes
        aged="o.finished_at < %(bound)s",
    ),
    _Table(
        "lineage_edges",
        ("namespace", "upstream_job_id", "kind", "job_id"),
        ahead="false",
        # It went with the job that it leads to, or the event that said it is older than what was kept.
        aged="NOT EXISTS (SELECT FROM {new}.jobs AS job WHERE (job.namespace, job.job_id) = (o.namespace, o.job_id))"
        " OR EXISTS (SELECT FROM {old}.jobs AS job WHERE (job.namespace, job.job_id) = (o.namespace, o.job_id)"
        " AND least(job.occurred_at, job.enqueued_at, job.started_at, job.args_occurred_at) < %(bound)s)",
    ),
    _Table(
        "dead_letters",
        ("topic", "message_id", "publish_time"),
        ahead="true",  # this release may have another reason for it
        # Every message from the start on was read: what is no dead letter any more is an event now.
        aged="true",
    ),
    _Table(
        "failure_groups",
        ("id",),
        ahead="n.occurrence_count >= o.occurrence_count AND n.job_count >= o.job_count"
        " AND n.first_seen_at <= o.first_seen_at AND n.last_seen_at >= o.last_seen_at AND n.title <= o.title",
        aged="o.first_seen_at < %(bound)s",
        of_groups=True,
    ),
    _Table(
        "failure_group_jobs",
        ("failure_group_id", "job_id"),
        ahead="false",
        aged="EXISTS (SELECT FROM {old}.failure_groups AS met"
        " WHERE met.id = o.failure_group_id AND met.first_seen_at < %(bound)s)",
        of_groups=True,
    ),
    _Table(
        "failure_groups_hourly",
        ("failure_group_id", "hour"),
        ahead="n.occurrence_count >= o.occurrence_count",
        aged="o.hour < %(bound)s",
        of_groups=True,
    ),
    _Table(
        "outcomes_hourly",
        ("namespace", "source", "worker", "queue", "hour"),
        ahead="n.completed >= o.completed AND n.retryable >= o.retryable AND n.discarded >= o.discarded"
        " AND n.cancelled >= o.cancelled",
        aged="o.hour < %(bound)s",
    ),
)

_COUNTS = """
SELECT
    count(*) FILTER (WHERE in_old AND in_new AND same),
    count(*) FILTER (WHERE in_old AND in_new AND NOT same AND ahead),
    count(*) FILTER (WHERE NOT in_old),
    count(*) FILTER (WHERE in_old AND NOT in_new AND aged OR in_old AND in_new AND NOT same AND NOT ahead AND aged),
    count(*) FILTER (WHERE in_old AND NOT in_new AND NOT aged),
    count(*) FILTER (WHERE in_old AND in_new AND NOT same AND NOT ahead AND NOT aged)
FROM ({compared}) AS compared
"""
_EXAMPLES = """
SELECT key
FROM ({compared}) AS compared
WHERE in_old AND NOT (in_new AND (same OR ahead)) AND NOT aged
LIMIT %(examples)s
"""
_COMPARED = """
SELECT
    o.{first} IS NOT NULL AS in_old,
    n.{first} IS NOT NULL AS in_new,
    ROW({old_columns}) IS NOT DISTINCT FROM ROW({new_columns}) AS same,
    coalesce({ahead}, false) AS ahead,
    coalesce({aged}, false) AS aged,
    json_build_object({named_key}) AS key
FROM {old}.{table} AS o
FULL JOIN {new}.{table} AS n ON {joined}
"""


@dataclass(frozen=True)
class TableParity:
    """One table. All but the last three are as they should be."""

    table: str
    equal: int
    more: int
    """The new row says what the old one said, and more: events that the old tables had not got yet."""
    only_new: int
    """Events that the old tables had not got yet; dead letters that were purged or retried."""
    given_up: int
    """Of a time before the horizon, or before the time from which the topic was read; dead letters that are events now."""
    only_old: int
    different: int
    examples: list[dict[str, Any]]
    """Keys of rows of the two kinds before."""

    @property
    def unexplained(self) -> int:
        """Rows that the old tables knew and the topic does not say."""
        return self.only_old + self.different


@dataclass(frozen=True)
class Parity:
    """All tables, and what was left out."""

    tables: list[TableParity]
    left_out: list[str]
    """Tables of another version of the fingerprint: their rows are other ones."""
    forgotten_words: int
    """Groups that people said something of, and that are in the tables no longer. What was said is kept."""

    @property
    def unexplained(self) -> int:
        """Over all tables."""
        return sum(table.unexplained for table in self.tables)

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return {**asdict(self), "unexplained": self.unexplained}


def compare(
    connection: psycopg.Connection,
    bound: datetime | None,
    forgotten_words: int,
    old: str = OLD_SCHEMA,
    new: str = SCHEMA,
) -> Parity:
    """Compare every table. ``bound``: before this time history was given up; None: never."""
    same_groups = _fingerprint_version(connection, old) == _fingerprint_version(connection, new)
    compared = [table for table in _TABLES if same_groups or not table.of_groups]
    return Parity(
        tables=[_compare(connection, table, bound, old, new, same_groups) for table in compared],
        left_out=[table.name for table in _TABLES if table not in compared],
        forgotten_words=forgotten_words,
    )


def _compare(
    connection: psycopg.Connection,
    table: _Table,
    bound: datetime | None,
    old: str,
    new: str,
    same_groups: bool,
) -> TableParity:
    columns = _columns(connection, old, table.name)
    if not same_groups:
        columns = [name for name in columns if name != "failure_group_id"]
    schemas = {"old": sql.Identifier(old), "new": sql.Identifier(new)}
    compared = sql.SQL(_COMPARED).format(
        **schemas,
        table=sql.Identifier(table.name),
        first=sql.Identifier(table.key[0]),
        ahead=sql.SQL(table.ahead),  # texts of this module
        aged=sql.SQL(table.aged).format(**schemas),
        old_columns=_listed("o", columns),
        new_columns=_listed("n", columns),
        named_key=sql.SQL(", ").join(
            part for name in table.key for part in (sql.Literal(name), sql.Identifier("o", name))
        ),
        joined=sql.SQL(" AND ").join(
            sql.SQL("{} = {}").format(sql.Identifier("o", name), sql.Identifier("n", name))
            for name in table.key
        ),
    )
    parameters = {"bound": bound or "-infinity", "examples": EXAMPLES}
    row = connection.execute(sql.SQL(_COUNTS).format(compared=compared), parameters).fetchone()
    assert row is not None
    examples = []
    if row[4] or row[5]:  # asked for apart: to collect them with the counts would take memory without bound
        examples = connection.execute(sql.SQL(_EXAMPLES).format(compared=compared), parameters).fetchall()
    equal, more, only_new, given_up, only_old, different = row
    keys = [key for (key,) in examples]
    return TableParity(table.name, equal, more, only_new, given_up, only_old, different, keys)


def _listed(alias: str, columns: list[str]) -> sql.Composed:
    return sql.SQL(", ").join(sql.Identifier(alias, name) for name in columns)


def _columns(connection: psycopg.Connection, schema: str, table: str) -> list[str]:
    """The columns that the old table has; a release that adds one derives it anew."""
    rows = connection.execute(
        "SELECT attname FROM pg_attribute WHERE attrelid = format('%%I.%%I', %s::text, %s::text)::regclass "
        "AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [schema, table],
    ).fetchall()
    return [name for (name,) in rows]


def _fingerprint_version(connection: psycopg.Connection, schema: str) -> int:
    row = connection.execute(
        sql.SQL("SELECT fingerprint_version FROM {}.derivation").format(sql.Identifier(schema))
    ).fetchone()
    assert row is not None
    version: int = row[0]
    return version
