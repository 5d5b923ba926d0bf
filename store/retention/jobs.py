"""Jobs of which nothing was said since the horizon go, with the edges that lead to them; and old dead letters.

No index tells which jobs are old: it would have to change with every event. So the table is read part by part, pages
from one to another, as many as a short transaction takes.
"""

import time
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Final

import psycopg

from store.retention.session import QUERIES, Session, start_of

_FIRST_PAGES: Final = 64
_MOST_PAGES: Final = 4_096
_LONG_SECONDS: Final = 0.1


@dataclass
class RemovedJobs:
    """How many rows went."""

    jobs: int = 0
    edges: int = 0
    dead_letters: int = 0


def remove_jobs(session: Session, horizon: date, removed: RemovedJobs) -> None:
    """Remove jobs and edges. A row that a writer holds is passed over: something new is said of that job.

    ``removed`` is kept up to date. Raises what `Session.transaction` raises.
    """
    row = session.connection.execute(QUERIES["pages_of_jobs"]).fetchone()
    assert row is not None
    page, last, pages = 0, row[0], _FIRST_PAGES
    while page < last:
        end = page + pages
        began = time.monotonic()
        jobs, edges = session.transaction(
            "remove jobs",
            partial(_remove_jobs, horizon=horizon, first=page, end=end, most=session.batch_rows),
        )
        removed.jobs += jobs
        removed.edges += edges
        if jobs < session.batch_rows:  # else there may be more in these pages
            page = end
        took = time.monotonic() - began
        if took > _LONG_SECONDS:
            pages = max(1, pages // 2)
        elif took < _LONG_SECONDS / 4:
            pages = min(2 * pages, _MOST_PAGES)


def remove_dead_letters(session: Session, horizon: date, removed: RemovedJobs) -> None:
    """Remove dead letters that were published before the horizon. Raises what `Session.transaction` raises."""
    asked = {"horizon": start_of(horizon), "most": session.batch_rows}
    while True:
        rows = session.transaction(
            "remove dead letters",
            lambda connection: connection.execute(QUERIES["remove_dead_letters"], asked).rowcount,
        )
        removed.dead_letters += rows
        if rows < session.batch_rows:
            return


def _remove_jobs(
    connection: psycopg.Connection, horizon: date, first: int, end: int, most: int
) -> tuple[int, int]:
    asked = {"first": f"({first},0)", "end": f"({end},0)", "horizon": start_of(horizon), "most": most}
    jobs = connection.execute(QUERIES["remove_jobs"], asked).rowcount
    edges = connection.execute(QUERIES["remove_edges"]).rowcount if jobs else 0
    return jobs, edges
