"""Checks before a rebuild: what the live tables cover, how large they are, and whether the privileges suffice."""

from datetime import datetime
from typing import NamedTuple

import psycopg

from store.queries import queries
from store.rebuild.tables import DERIVED

_REBUILD = queries("rebuild")


class Cover(NamedTuple):
    """What the live tables cover within the horizon. Times for attempts are whole hours; None: no rows."""

    earliest_attempt: datetime | None
    earliest_job: datetime | None
    bytes: int
    jobs: int
    """The planner's estimate."""

    @property
    def earliest(self) -> datetime | None:
        """The earlier of both."""
        return min((time for time in (self.earliest_attempt, self.earliest_job) if time), default=None)


class RowsBefore(NamedTuple):
    """Numbers of rows in the live tables that are older than a time."""

    attempts: int
    jobs: int
    dead_letters: int


class MissingHours(NamedTuple):
    """Hours in which the live tables have more ends of attempts than the rebuilt ones."""

    hours: int
    attempts: int
    first: datetime | None
    last: datetime | None


def read_cover(connection: psycopg.Connection) -> Cover:
    """Return what the live tables cover now. Reads all of `jobs` once."""
    earliest = connection.execute(_REBUILD["earliest_rows"]).fetchone()
    sizes = connection.execute(_REBUILD["sizes"]).fetchone()
    assert earliest is not None
    assert sizes is not None
    return Cover(*earliest, *sizes)


def rows_before(connection: psycopg.Connection, time: datetime) -> RowsBefore:
    """Count what would be lost if nothing from before this time were read again."""
    row = connection.execute(_REBUILD["rows_before"], {"time": time}).fetchone()
    assert row is not None
    return RowsBefore(*row)


def missing_hours(
    connection: psycopg.Connection, since: datetime | None, until: datetime | None
) -> MissingHours:
    """Return what the live tables have and the rebuilt ones lack. The session's schema is the rebuilt one."""
    row = connection.execute(_REBUILD["missing_hours"], {"since": since, "until": until}).fetchone()
    assert row is not None
    return MissingHours(*row)


def read_bound(connection: psycopg.Connection, history_from: datetime | None) -> datetime | None:
    """Return the time before which rows may be missing: the horizon, or the start of reading. None: no row may be missing."""
    row = connection.execute(_REBUILD["bound"], {"history_from": history_from}).fetchone()
    assert row is not None
    time: datetime | None = row[0]
    return time


def privilege_problems(connection: psycopg.Connection) -> list[str]:
    """Return what this user lacks the privileges for, each with its cure."""
    row = connection.execute(_REBUILD["rights"]).fetchone()
    if row is None:
        return ["there is no schema jobtrail: run `jobtrail migrate`"]
    user, may_create, is_owner, owner = row
    problems = []
    if not may_create:
        problems.append(
            f"{user} may not create schemas in this database: GRANT CREATE ON DATABASE … TO {user}"
        )
    if not is_owner:
        problems.append(
            f"{user} may not rename the schema jobtrail, which is {owner}'s: run this as {owner}, or GRANT {owner} TO {user}"
        )
    return problems


def foreign_objects(connection: psycopg.Connection) -> list[str]:
    """Return objects that others attached to the live tables: they would stay with the old tables, and be dropped with them."""
    return [
        what
        for (what,) in connection.execute(_REBUILD["foreign_objects"], {"ours": list(DERIVED)}).fetchall()
    ]


def count_triage_without_group(connection: psycopg.Connection) -> int:
    """Count triage entries of groups that the tables no longer have. The entries are kept."""
    row = connection.execute(_REBUILD["triage_without_group"]).fetchone()
    assert row is not None
    count: int = row[0]
    return count
