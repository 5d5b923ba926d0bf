"""Failure groups: what failed, how often, since when, and samples.

Counts are within retention: ``occurrence_count`` counts failed attempts, ``job_count`` jobs. Samples are the newest failures.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

import psycopg

from schemas.errors import InputError, NotFoundError
from store.answers.names import require_category, require_namespace, require_source
from store.answers.reading import read, snapshot
from store.hours import start_of_hour
from store.queries import queries

SAMPLED_ATTEMPTS = 5
HOURS_SHOWN = 24

_QUERIES = queries("answers_failures")
_UUID_DIGITS = 32
_PLACEHOLDER: Final = re.compile(r"<[a-z]+>")


class FailureGroup(NamedTuple):
    """A group, with workers and external ids of its newest failures.

    ``…_since`` count from the hour of the query's ``since``; None without it.
    """

    id: UUID
    namespace: str
    source: str
    category: str
    error_type: str
    title: str
    occurrence_count: int
    job_count: int
    first_seen_at: datetime
    last_seen_at: datetime
    occurrence_count_since: int | None
    job_count_since: int | None
    sample_workers: list[str]
    sample_external_ids: list[str]


class Failure(NamedTuple):
    """One failed attempt of a group."""

    job_id: str
    attempt: int
    finished_at: datetime
    state: str
    worker: str
    external_id: str
    message: str
    stacktrace: str
    origin: str
    release: str
    executor: str


class HourCount(NamedTuple):
    """How many attempts failed with a group within an hour of UTC."""

    hour: datetime
    occurrence_count: int


class GroupRow(NamedTuple):
    """The stored row of a group."""

    id: UUID
    namespace: str
    source: str
    category: str
    error_type: str
    fingerprint: str
    title: str
    occurrence_count: int
    job_count: int
    first_seen_at: datetime
    last_seen_at: datetime


@dataclass(frozen=True)
class FailureGroupDetail:
    """A group with its newest failures and its last hours."""

    group: GroupRow
    newest: list[Failure]
    hours: list[HourCount]


def full_title(error_type: str, title: str) -> str:
    """Return the title. Put the error's type before one that has only placeholders, such as KeyError's."""
    said = _PLACEHOLDER.sub("", title)
    if any(map(str.isalnum, said)) or error_type in ("", title):
        return title
    return f"{error_type}: {title}"


class _Id(NamedTuple):
    id: UUID


def get_failure_groups(
    connection: psycopg.Connection,
    *,
    namespace: str | None = None,
    source: str | None = None,
    category: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> list[FailureGroup]:
    """Return groups seen at or after ``since``, most recently seen first. Counts begin with the hour of UTC that has ``since``.

    Raises NotFoundError when nothing is found because the namespace, the source or the category does not exist.
    """
    with snapshot(connection):
        found = read(
            connection,
            FailureGroup,
            _QUERIES["groups"],
            namespace=namespace,
            source=source,
            category=category,
            since=since,
            hour=since and start_of_hour(since),
            limit=limit,
            samples=SAMPLED_ATTEMPTS,
        )
        if not found:
            require_namespace(connection, namespace)
            require_source(connection, source, namespace)
            require_category(connection, category, namespace)
    return found


def get_failure_group(
    connection: psycopg.Connection, group_id: str, *, limit: int = 10
) -> FailureGroupDetail:
    """Return one group by its id or the id's first digits, with its newest failures.

    Raises NotFoundError when there is none, InputError when the text is not hexadecimal or several groups match.
    """
    with snapshot(connection):
        found = read(connection, _Id, _QUERIES["groups_like"], **_range_of(group_id))
        if not found:
            raise NotFoundError(
                f"no failure group {group_id!r}. `jobtrail failures list` shows all whose failures are within retention."
            )
        if len(found) > 1:
            raise InputError(
                f"more than one failure group begins with {group_id!r}: give more digits of its id."
            )
        group = read(connection, GroupRow, _QUERIES["group_by_id"], id=found[0].id)[0]
        newest = read(
            connection,
            Failure,
            _QUERIES["newest_attempts"],
            id=group.id,
            first_seen_at=group.first_seen_at,
            last_seen_at=group.last_seen_at,
            limit=limit,
        )
        hours = read(connection, HourCount, _QUERIES["hours"], id=group.id, limit=HOURS_SHOWN)
    return FailureGroupDetail(group, newest, hours)


def _range_of(group_id: str) -> dict[str, UUID]:
    """Return the lowest and the highest id that begin with these digits. Raises InputError."""
    digits = group_id.replace("-", "").lower()
    if not 4 <= len(digits) <= _UUID_DIGITS or not set(digits) <= set("0123456789abcdef"):
        raise InputError(
            f"expected the id of a failure group (4 to 32 hexadecimal digits), got {group_id!r}."
        )
    return {"lowest": UUID(digits.ljust(_UUID_DIGITS, "0")), "highest": UUID(digits.ljust(_UUID_DIGITS, "f"))}
