"""The runs of a namespace, or of all: a run is a root job and all below it."""

from datetime import datetime
from typing import NamedTuple

import psycopg

from store.answers.reading import read, snapshot
from store.queries import queries

# A larger run is not read job by job only to tell when it last changed.
LARGEST_RUN_READ = 200_000

_QUERIES = queries("answers_runs")


class Run(NamedTuple):
    """A run: its root job, and how many of the jobs that name it as their root stand where.

    ``failed`` are the discarded; ``waiting`` the available, scheduled, suspended and retryable. ``last_change_at`` is
    None for a run of more than ``LARGEST_RUN_READ`` jobs.
    """

    root: str
    namespace: str
    worker: str
    state: str
    source: str | None
    external_id: str | None
    started_at: datetime
    last_change_at: datetime | None
    total: int
    completed: int
    failed: int
    waiting: int
    executing: int


def get_runs(connection: psycopg.Connection, namespace: str | None = None, *, limit: int = 20) -> list[Run]:
    """The runs of one namespace, or of all, those whose root changed last first."""
    with snapshot(connection):
        return read(
            connection, Run, _QUERIES["runs"], namespace=namespace, limit=limit, largest_read=LARGEST_RUN_READ
        )
