"""Checks fingerprint, title and id of failure groups. Code computes these, not SQL, so failures are read group by group."""

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import psycopg

from derive.fingerprint import fingerprint, id_of_group, title
from store.queries import queries
from store.verify.difference import Difference
from store.verify.reading import rows_of, snapshot
from store.verify.slices import Slice

_FAILURES = queries("verify_sums")["failures"]


class _Failure(NamedTuple):
    group_id: UUID
    hour: str
    namespace: str
    source: str
    category: str
    type: str
    message: str
    origin: str
    own: str
    stored_fingerprint: str
    stored_title: str
    stored_title_of_hour: str | None


def wrong_names(connection: psycopg.Connection, part: Slice) -> Iterator[Difference]:
    """Yield wrong names in one slice: of groups, of titles of their hours, of failures in a wrong group."""
    with snapshot(connection):
        failures = (_Failure(*row) for row in rows_of(connection, _FAILURES, part.parameters))
        for group_id, those in groupby(failures, key=lambda failure: failure.group_id):
            yield from _of_group(group_id, those)


def _of_group(group_id: UUID, failures: Iterable[_Failure]) -> Iterator[Difference]:
    """Yield each wrong value of the group once. Keeps only one title per hour in memory, not the failures."""
    titles: dict[str, str] = {}
    stored_titles: dict[str, str | None] = {}
    misplaced: Counter[UUID] = Counter()
    mark = ""
    for failure in failures:
        found = fingerprint(failure.type, failure.message, failure.origin, failure.own)
        key_of_group = (failure.namespace, failure.source, failure.category, failure.type, found)
        belongs = UUID(id_of_group(key_of_group))
        if belongs != group_id:
            misplaced[belongs] += 1
            continue
        mark = found
        named = title(failure.type, failure.message, failure.origin)
        titles[failure.hour] = min(titles.get(failure.hour, named), named)
        stored_titles[failure.hour] = failure.stored_title_of_hour
    for belongs, count in misplaced.items():
        key = {"failure_group_id": str(group_id)}
        yield Difference("attempts", key, "failure_group_id", f"that, in {count} failures", str(belongs))
    if not titles:
        return  # no failure belongs to it, so its name cannot be computed
    key = {"id": str(group_id)}
    if failure.stored_fingerprint != mark:
        yield Difference("failure_groups", key, "fingerprint", failure.stored_fingerprint, mark)
    least = min(titles.values())
    if failure.stored_title != least:
        yield Difference("failure_groups", key, "title", failure.stored_title, least)
    for hour, named in titles.items():
        if stored_titles[hour] not in (None, named):
            key = {"failure_group_id": str(group_id), "hour": hour}
            yield Difference("failure_groups_hourly", key, "title", stored_titles[hour], named)
