"""Removes dead letters from the table: replaced by their events, which could be decoded after all, or purged.

Both keep the order of all writers: the shared lock first, rows in the order of the key, and dead letters between edges
and attempts. `store/answers/dead_letters.py` reads them to answer questions.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg.rows import class_row

from derive.rows import Batch, DeadLetter, Written
from store.locks import Lock, acquire_shared
from store.queries import queries
from store.steps import Reached
from store.writing.stage import staged
from store.writing.writer import begin, committed, merge

_QUERIES = queries("dead_letters")

PART_ROWS = 500
PART_BYTES = 32 * 1024 * 1024
"""Most bytes of one part, which is read and replaced together."""

_PURGED_ROWS = 1_000


class DeadLetterFilter(NamedTuple):
    """Selects dead letters; None: any. ``before``: published before that time, by the publisher's clock."""

    reason: str | None = None
    topic: str | None = None
    message_id: str | None = None
    before: datetime | None = None


def count_matching(connection: psycopg.Connection, wanted: DeadLetterFilter) -> int:
    """Return how many match now."""
    with connection.transaction():
        row = connection.execute(_QUERIES["count_matching"], wanted._asdict()).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def next_matching(
    connection: psycopg.Connection, wanted: DeadLetterFilter, after: DeadLetter | None, rows: int = PART_ROWS
) -> list[DeadLetter]:
    """Return the next ones in the order of the key: at most ``rows`` and 32 MiB of payload, but at least one.

    Leaves no lock and no open transaction.
    """
    parameters = {
        **wanted._asdict(),
        "after_topic": after.topic if after else "",
        "after_message_id": after.message_id if after else "",
        "after_time_us": after.publish_time_us if after else 0,
        "rows": rows,
        "bytes": PART_BYTES,
    }
    with connection.transaction(), connection.cursor(row_factory=class_row(DeadLetter)) as cursor:
        return cursor.execute(_QUERIES["next_matching"], parameters).fetchall()


def replace_dead_letters(
    connection: psycopg.Connection,
    batch: Batch,
    replaced: Sequence[DeadLetter],
    reached: Reached | None = None,
) -> Written:
    """Write a batch and remove the dead letters it was made from, in one transaction, and commit.

    The batch's ``dead_letters`` are stored again, so it may include those that stay, with another reason. ``reached`` is
    called with each step once it is done. Rolls back and raises the same as ``store.writing.writer.write_batch``.
    """
    with committed(connection, reached):
        begin(connection, batch, staged(batch))
        merge(connection, replace(batch, dead_letters=[], attempts=[], groups=[]), reached)
        _remove(connection, replaced)
        if reached is not None:
            reached("remove_dead_letters")
        return merge(connection, replace(batch, jobs=[], edges=[]), reached)


def purge(connection: psycopg.Connection, wanted: DeadLetterFilter) -> Iterator[int]:
    """Delete all that match, in transactions of 1,000 rows. Yield the number of each."""
    while True:
        with connection.transaction():
            acquire_shared(connection, Lock.DERIVED)
            deleted = connection.execute(
                _QUERIES["purge_some"], {**wanted._asdict(), "rows": _PURGED_ROWS}
            ).rowcount
        if deleted:
            yield deleted
        if deleted < _PURGED_ROWS:
            return


def _remove(connection: psycopg.Connection, letters: Sequence[DeadLetter]) -> None:
    keys = {
        "topics": [letter.topic for letter in letters],
        "message_ids": [letter.message_id for letter in letters],
        "publish_times": [letter.publish_time_us for letter in letters],
    }
    if letters:
        connection.execute(_QUERIES["lock_letters"], keys)
        connection.execute(_QUERIES["remove_letters"], keys)
