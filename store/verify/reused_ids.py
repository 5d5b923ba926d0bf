"""Finds the ids that were used again. It reads every attempt in the tables, so it finds more than the marks on jobs show."""

from collections.abc import Iterator

import psycopg

from store.answers.reused_ids import JobKey
from store.queries import queries
from store.verify.reading import rows_of, snapshot
from store.verify.slices import by_jobs

_REUSED = queries("verify_jobs")["reused_ids"]


def reused_ids(connection: psycopg.Connection) -> Iterator[JobKey]:
    """Yield namespace and id of every job whose id was used again, ordered by id. These are not differences.

    An attempt of the job ended more than once, or `has_reused_id` is true for it. Raises the same as `run.verify`.
    """
    for part in by_jobs(connection, None):
        with snapshot(connection):
            found = [
                (namespace, job_id) for namespace, job_id in rows_of(connection, _REUSED, part.parameters)
            ]
        yield from found
