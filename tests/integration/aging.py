"""Databases with a history, for the tests of retention: events from before and after the horizon, written as a consumer does."""

from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from derive.fold import fold
from derive.rows import DeadLetter
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.retention.run import Done, delete_expired
from store.retention.session import Horizons, start_of
from store.verify.run import verify
from store.writing.writer import HorizonMovedError, prepare_session, write_batch

US = 1_000_000
DAY_US = 24 * 3600 * US
TODAY = datetime.now(UTC).date()
KEEP = 7
HORIZON = TODAY - timedelta(days=KEEP)
OPEN_DAYS = 30
"""How long open jobs are kept in these tests, counted from today."""

OPEN_HORIZON = TODAY - timedelta(days=OPEN_DAYS)


def at(days: float, second: int = 0) -> int:
    """Return the time this many days after the horizon, in microseconds."""
    return int(start_of(HORIZON).timestamp()) * US + round(days * DAY_US) + second * US


def event(job_id: str, state: str, when: int, **fields: Any) -> dict[str, Any]:
    """Return an event of the namespace kino with only these fields."""
    least = Event("kino", job_id, "ShowJob", "q", state, 1, when)
    return least._replace(**fields)._asdict()


def placed(root: str, parent: str = "") -> dict[str, Any]:
    """Return the fields of a publisher that knows where in the run a job is."""
    return {"root_job_id": root, "parent_job_id": parent, "depth": 1 if parent else 0}


@contextmanager
def session(url: str, **more: Any) -> Iterator[psycopg.Connection]:
    """Yield a connection as the product opens it."""
    with closing(connect(DatabaseSettings.load(database_url=url), "jobtrail test", **more)) as connection:
        yield connection


def write_events(url: str, events: Iterable[dict[str, Any]], letters: list[DeadLetter] | None = None) -> int:
    """Write a batch as a consumer does; return how many events were expired."""
    with session(url) as connection:
        prepare_session(connection)
        whole = [Event(**one) for one in events]
        batch = fold(whole, letters or [])
        try:
            write_batch(connection, batch)
        except HorizonMovedError as moved:
            batch = fold(whole, letters or [], moved.horizon_us)
            write_batch(connection, batch)
        return batch.expired


def run(url: str, horizon: date = HORIZON, open_horizon: date | None = OPEN_HORIZON, **more: Any) -> Done:
    """Advance the horizons, and remove what is expired."""
    with session(url, autocommit=True) as connection:
        return delete_expired(connection, Horizons(horizon, open_horizon), **more)


def kept(url: str) -> set[str]:
    """Return the ids of all jobs; outside of kino with the namespace before them."""
    with session(url, autocommit=True) as connection:
        rows = connection.execute("SELECT namespace, job_id FROM jobs").fetchall()
    return {job_id if namespace == "kino" else f"{namespace}/{job_id}" for namespace, job_id in rows}


def differences_found(url: str) -> list[Any]:
    """Return the differences that `jobtrail verify` finds."""
    with session(url, autocommit=True) as connection:
        return list(verify(connection))
