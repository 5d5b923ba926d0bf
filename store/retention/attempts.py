"""Deletes days of attempts, the oldest first, and subtracts each from the aggregates in the same transaction.

If a day has a partition, its failures are copied, the partition is dropped, and the copy is subtracted. Readers and
writers of `attempts` wait meanwhile. So if a day has very many failures, some are deleted before, in transactions that do not
block others. Rows of days without a partition are deleted some hours at a time.

The failures may be copied before the partition is dropped, because no more rows from before the horizon arrive: the
horizon advanced while no writer was at work, and every writer since then has folded for it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from typing import Final
from uuid import UUID

import psycopg
from psycopg import sql

from store.partitions import expired_days
from store.retention.session import QUERIES, Session, lock_partitions, start_of

AT_ONCE: Final = 50_000
"""Most failures to subtract while no other session can read or write `attempts`: about half a second of work."""

_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


@dataclass
class RemovedAttempts:
    """What was deleted."""

    partitions: list[str] = field(default_factory=list)
    """Names of the dropped partitions."""
    rows: int = 0
    """Rows deleted one by one."""


@dataclass(frozen=True)
class _Piece:
    """Failures of some groups in whole hours, from ``first`` until ``before``."""

    groups: list[UUID]
    first: datetime
    before: datetime


def remove_days(session: Session, horizon: date, removed: RemovedAttempts, at_once: int = AT_ONCE) -> None:
    """Delete every attempt from before the horizon. ``removed`` is kept up to date, so it is correct even after an error.

    Raises the same as `Session.transaction`.
    """
    strays = _stray_hours(session.connection, horizon)
    for day, name in expired_days(session.connection, horizon):
        before = [(hour, count) for hour, count in strays if hour < start_of(day)]
        _remove_strays(session, before, removed)
        strays = strays[len(before) :]
        _thin_out(session, day, removed, at_once)
        session.transaction(
            "drop a partition", partial(_drop, session=session, day=day, name=name), lock_partitions
        )
        removed.partitions.append(name)
    _remove_strays(session, strays, removed)


def _stray_hours(connection: psycopg.Connection, horizon: date) -> list[tuple[datetime, int]]:
    return connection.execute(QUERIES["stray_hours"], {"before": start_of(horizon)}).fetchall()


def _remove_strays(session: Session, hours: list[tuple[datetime, int]], removed: RemovedAttempts) -> None:
    """Delete the rows of these hours. Each transaction takes as many hours as fit into a batch of rows, and at least one."""
    while hours:
        count = rows = 0
        while count < len(hours) and (count == 0 or rows + hours[count][1] <= session.batch_rows):
            rows += hours[count][1]
            count += 1
        first, before = hours[0][0], hours[count - 1][0] + _HOUR
        removed.rows += session.transaction(
            "remove stray attempts",
            partial(_delete, first=first, before=before, groups=None),
            lock_partitions,
        )
        hours = hours[count:]


def _thin_out(session: Session, day: date, removed: RemovedAttempts, at_once: int) -> None:
    """Delete failures of a day, the largest groups first, until few enough are left to be subtracted at once."""
    first, before = start_of(day), start_of(day) + _DAY
    bounds = {"first": first, "before": before}
    groups = session.connection.execute(QUERIES["failures_of_day"], bounds).fetchall()
    too_many = sum(count for _, count in groups) - at_once
    if too_many <= 0:
        return
    for piece in _pieces(session, groups, first, before):
        rows = session.transaction(
            "remove failures",
            partial(_delete, first=piece.first, before=piece.before, groups=piece.groups),
            lock_partitions,
        )
        removed.rows += rows
        too_many -= rows
        if too_many <= 0:
            return


def _pieces(
    session: Session, groups: list[tuple[UUID, int]], first: datetime, before: datetime
) -> Iterator[_Piece]:
    together: list[UUID] = []
    rows = 0
    for group, count in groups:
        if count > session.batch_rows:
            yield from _pieces_of_group(session, group, first, before)
            continue
        if rows + count > session.batch_rows:
            yield _Piece(together, first, before)
            together, rows = [], 0
        together.append(group)
        rows += count
    if together:
        yield _Piece(together, first, before)


def _pieces_of_group(session: Session, group: UUID, first: datetime, before: datetime) -> Iterator[_Piece]:
    """Divide a group with more failures than a batch has rows into hours, the earliest first."""
    asked = {"group": group, "first": first, "before": before}
    for hour, _ in session.connection.execute(QUERIES["hours_of_group"], asked).fetchall():
        yield _Piece([group], hour, hour + _HOUR)


def _delete(
    connection: psycopg.Connection, first: datetime, before: datetime, groups: list[UUID] | None
) -> int:
    """Delete attempts and subtract them from the aggregates; return how many.

    ``groups``: failures of these groups; None: rows of days without a partition.
    """
    bounds = {"first": first, "before": before}
    if groups is None:
        rows = connection.execute(QUERIES["remove_stray_attempts"], bounds).rowcount
    else:
        rows = connection.execute(QUERIES["remove_failures_of_groups"], {**bounds, "groups": groups}).rowcount
    _subtract_from_groups(connection, before)
    connection.execute(QUERIES["subtract_from_outcomes"])
    connection.execute(QUERIES["remove_empty_outcomes"], bounds)
    return rows


def _drop(connection: psycopg.Connection, session: Session, day: date, name: str) -> None:
    """Drop the day's partition and subtract it from the aggregates."""
    bounds = {"first": start_of(day), "before": start_of(day) + _DAY}
    # Creating a partition locks the default one first and `attempts` second; here it is the other way round. So both hold PARTITIONS.
    connection.execute(QUERIES["copy_failures_of_day"], bounds)
    session.reached("drop a partition: copied")
    # Lock `attempts` before the rows of the aggregates, in the order of the writers.
    connection.execute(QUERIES["lock_attempts"])
    connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(name)))
    session.reached("drop a partition: dropped")
    _subtract_from_groups(connection, bounds["before"])
    connection.execute(QUERIES["remove_outcomes"], bounds)


def _subtract_from_groups(connection: psycopg.Connection, before: datetime) -> None:
    connection.execute(QUERIES["remove_group_jobs"], {"before": before})
    connection.execute(QUERIES["lock_groups"])
    connection.execute(QUERIES["remove_group_hours"])
    connection.execute(QUERIES["remove_empty_groups"])
    connection.execute(QUERIES["subtract_from_groups"])
