"""Retention removes exactly the runs that the oracle removes, for any relations between jobs.

No writers run beside it, so many hundreds of cases can be tried: roots that are known, unknown or part of another run, parents
without roots, circles, two namespaces with the same ids, each state on each side of each horizon. A dry run before it must
announce what is removed.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from derive.fold import fold
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.retention.plan import count_expired_runs
from store.retention.run import delete_expired
from store.retention.session import Horizons
from store.writing.writer import prepare_session, write_batch
from testing.examples import examples
from tests.law import ground
from tests.law.oracle import RANKS, oracle_after_retention
from tests.law.tables import difference, read_tables
from tests.law.universes import DAY, DAY_US, EPOCH

OPEN_DAY = DAY - 30 * DAY_US
NAMES = ["a", "b", "c", "d", "e", "f", "ä\\", "nobody"]
STATES = [*RANKS, "completed", "completed", "completed"]
JOBS = st.fixed_dictionaries(
    {
        "namespace": st.sampled_from(["kino", "kino", "kino", "Kino"]),
        "job_id": st.sampled_from(NAMES[:-1]),
        "state": st.sampled_from(STATES),
        "occurred_at": st.sampled_from(
            [DAY, DAY - 1, DAY - 1, DAY - DAY_US, DAY - DAY_US, OPEN_DAY, OPEN_DAY - 1, OPEN_DAY - DAY_US]
        ),
        "scheduled_at": st.sampled_from([0, 0, 0, 0, OPEN_DAY, OPEN_DAY - 1, DAY, DAY + 900 * DAY_US]),
        "root_job_id": st.sampled_from(["", "", "", *NAMES]),
        "parent_job_id": st.sampled_from(["", *NAMES]),
    }
)


@pytest.fixture
def sessions(law_url: str) -> Iterator[tuple[psycopg.Connection, psycopg.Connection]]:
    """Yield a session for writing, and one for retention."""
    loaded = DatabaseSettings.load(database_url=law_url)
    with connect(loaded, "writer") as writer, connect(loaded, "retention", autocommit=True) as remover:
        prepare_session(writer)
        yield writer, remover


def test_expired_runs_go_and_all_others_stay(
    sessions: tuple[psycopg.Connection, psycopg.Connection],
) -> None:
    writer, remover = sessions
    horizons = Horizons(_day(DAY), _day(OPEN_DAY))

    @settings(max_examples=examples(300), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(JOBS, min_size=1, max_size=14), st.sampled_from([2, 5, 1_000]))
    def holds(jobs: list[dict[str, Any]], batch_rows: int) -> None:
        events = [Event(worker="W", queue="q", attempt=1, **job) for job in jobs]
        ground.empty(remover, None)
        write_batch(writer, fold(events))
        would = count_expired_runs(remover, horizons)
        done = delete_expired(remover, horizons, batch_rows=batch_rows)
        expected = oracle_after_retention([event._asdict() for event in events], [], [], (DAY, OPEN_DAY))
        lines = difference(expected, read_tables(remover))
        assert not lines, "\n".join([*lines, *map(str, jobs)])
        assert would == (done.rows.jobs, done.rows.edges)

    holds()


def _day(time_us: int) -> Any:
    day: datetime = EPOCH + timedelta(microseconds=time_us)
    return day.date()
