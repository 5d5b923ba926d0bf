"""Are the failure groups named as their failures say? Fingerprint, title and id are computed by code, not by SQL.

So the failures are read group by group, and the functions that name them are given by the caller: they belong to the
consumers, which are above the store.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple
from uuid import UUID

import psycopg

from store.queries import queries
from store.verify.difference import Difference
from store.verify.reading import rows_of, snapshot
from store.verify.slices import Slice

_FAILURES = queries("verify_sums")["failures"]


@dataclass(frozen=True)
class Naming:
    """``fingerprint(type, message, origin, own)``, ``title(type, message, origin)``, and the id of a group by its
    (namespace, source, category, type, fingerprint)."""

    fingerprint: Callable[[str, str, str, str], str]
    title: Callable[[str, str, str], str]
    group_id: Callable[[tuple[str, str, str, str, str]], UUID]


class _Failure(NamedTuple):
    group_id: UUID
    namespace: str
    source: str
    category: str
    type: str
    message: str
    origin: str
    own: str
    stored_fingerprint: str
    stored_title: str


def wrong_names(connection: psycopg.Connection, part: Slice, naming: Naming) -> Iterator[Difference]:
    """Groups of one slice whose fingerprint or title is not what their failures say, and failures in a wrong group."""
    with snapshot(connection):
        failures = (_Failure(*row) for row in rows_of(connection, _FAILURES, part.parameters))
        for group_id, those in groupby(failures, key=lambda failure: failure.group_id):
            yield from _of_group(group_id, those, naming)


def _of_group(group_id: UUID, failures: Iterator[_Failure], naming: Naming) -> Iterator[Difference]:
    """Every value of the group that is wrong, once. What the failures say is kept as it is met, not the failures."""
    marks: set[str] = set()
    title: str | None = None
    stored: _Failure | None = None
    strangers: dict[UUID, int] = {}
    for failure in failures:
        stored = failure
        mark = naming.fingerprint(failure.type, failure.message, failure.origin, failure.own)
        belongs = naming.group_id((failure.namespace, failure.source, failure.category, failure.type, mark))
        if belongs != group_id:
            strangers[belongs] = strangers.get(belongs, 0) + 1
            continue
        marks.add(mark)
        words = naming.title(failure.type, failure.message, failure.origin)
        title = words if title is None else min(title, words)
    assert stored is not None  # groupby gives no empty group
    key = {"id": str(group_id)}
    for mark in marks - {stored.stored_fingerprint}:
        yield Difference("failure_groups", key, "fingerprint", stored.stored_fingerprint, mark)
    if title is not None and title != stored.stored_title:
        yield Difference("failure_groups", key, "title", stored.stored_title, title)
    for belongs, count in strangers.items():
        yield Difference(
            "attempts",
            {"failure_group_id": str(group_id)},
            "failure_group_id",
            f"{count} failures",
            str(belongs),
        )
