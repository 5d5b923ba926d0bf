"""In which phase of a batch an aggregator is, as Postgres sees its sessions."""

from typing import Any, NamedTuple

import psycopg

APPLICATION = "jobtrail aggregator"

# The beginning of a session's last statement, and what it is a sign of. The order of a batch.
_STATEMENTS = (
    ("SELECT pg_advisory_xact_lock_shared", "lock"),
    ("SELECT CASE WHEN horizon_at", "horizon"),
    ("COPY stage_", "copy"),
    ("INSERT INTO jobs", "merge jobs"),
    ("INSERT INTO lineage_edges", "merge edges"),
    ("INSERT INTO dead_letters", "merge dead letters"),
    ("WITH added AS (\n    INSERT INTO attempts", "merge attempts"),
    ("WITH added AS (\n    INSERT INTO failure_group_jobs", "sums"),
    ("WITH occurrences", "sums"),
    ("INSERT INTO failure_groups_hourly", "sums"),
    ("INSERT INTO outcomes_hourly", "sums"),
    ("COMMIT", "commit"),
)


class Session(NamedTuple):
    """One of the aggregator's sessions."""

    pid: int
    phase: str
    state: str
    in_transaction: bool

    def __str__(self) -> str:
        return f"{self.phase} ({self.state}{', transaction open' if self.in_transaction else ''})"


def sessions(observer: psycopg.Connection[Any]) -> list[Session]:
    """The aggregator's sessions at this moment. The observer is in autocommit."""
    rows = observer.execute(
        "SELECT pid, query, state, xact_start IS NOT NULL FROM pg_stat_activity "
        "WHERE application_name = %s AND datname = current_database()",
        [APPLICATION],
    ).fetchall()
    return [Session(pid, _phase(query), state or "?", open_) for pid, query, state, open_ in rows]


def _phase(query: str) -> str:
    return next((phase for start, phase in _STATEMENTS if query.startswith(start)), "between batches")
