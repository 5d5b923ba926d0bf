"""The comparison after a rebuild: in every row, tables with more events are ahead of tables with fewer, never different.

The live tables change between a rebuild's swap and its comparison, so every change that a merge can make must be
explained. The tests try each rule with any set of events and any subset of it.
"""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from derive.fingerprint import VERSION
from derive.fold import fold
from derive.rows import DeadLetter
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import OLD_SCHEMA, REBUILD_SCHEMA, SCHEMA, connect
from store.rebuild.parity import Parity, compare
from store.rebuild.tables import create, swap
from store.writing.writer import prepare_session, write_batch
from tests.law.oracle import COLUMNS, NO_ERROR
from tests.law.universes import DEAD_LETTERS, NEAR, Universe, universes


class Both:
    """A database with both sets of tables: the replaced ones and the live ones."""

    def __init__(self, url: str) -> None:
        loaded = DatabaseSettings.load(database_url=url)
        self._control = connect(loaded, "jobtrail tests", autocommit=True, schema=REBUILD_SCHEMA)
        with self._control.transaction():
            create(self._control, VERSION)
            swap(self._control)
        self._writers = {
            name: connect(loaded, "jobtrail tests", schema=name) for name in (OLD_SCHEMA, SCHEMA)
        }
        for writer in self._writers.values():
            prepare_session(writer)

    def close(self) -> None:
        for connection in (self._control, *self._writers.values()):
            connection.close()

    def clean(self) -> None:
        for schema in self._writers:
            for table in COLUMNS:
                self._control.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(schema, table)))

    def write(self, schema: str, events: list[dict[str, Any]], letters: list[Any]) -> None:
        batch = fold([Event(**event) for event in events], [DeadLetter(*letter) for letter in letters])
        write_batch(self._writers[schema], batch)

    def compare(self) -> Parity:
        return compare(self._control, None, triage_without_group=0)


@pytest.fixture
def both(database_url: str) -> Iterator[Both]:
    made = Both(database_url)
    try:
        yield made
    finally:
        made.close()


def test_tables_of_more_events_are_ahead_in_every_row(both: Both) -> None:
    """The old tables have some of the events, the new ones all."""
    seen = dict.fromkeys(COLUMNS, 0)

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(universes(), st.data())
    def holds(universe: Universe, data: st.DataObject) -> None:
        events = list(universe.events)
        known = data.draw(st.lists(st.sampled_from(events), max_size=len(events)))
        both.clean()
        both.write(OLD_SCHEMA, known, DEAD_LETTERS[:1])
        both.write(SCHEMA, events, DEAD_LETTERS)
        for table in both.compare().tables:
            assert table.unexplained == 0, table
            seen[table.table] += table.more

    holds()
    # Rows of attempts and edges never change, and those of dead letters only with a new release; every other table must
    # have been ahead once.
    unchanging = ("attempts", "lineage_edges", "dead_letters")
    assert [table for table, more in seen.items() if not more and table not in unchanging] == []


def test_an_event_that_the_new_tables_lack_is_a_difference(both: Both) -> None:
    """An event that only the old tables have is never explained."""

    @settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
    @given(universes())
    def holds(universe: Universe) -> None:
        ends = [event for event in universe.events if event["state"] in ("completed", "discarded")]
        if not ends:
            return
        both.clean()
        both.write(OLD_SCHEMA, list(universe.events), [])
        both.write(SCHEMA, [event for event in universe.events if event not in ends], [])
        assert both.compare().unexplained > 0

    holds()


def test_a_job_that_fails_again_after_the_swap_is_not_a_difference(both: Both) -> None:
    """It fails again in the same failure group, so the time of its last failure advances."""
    failed = Event("kino", "1", "MovieJob", "q", "retryable", 1, NEAR[0], error=NO_ERROR)._asdict()
    again = {**failed, "state": "discarded", "attempt": 2, "occurred_at": NEAR[0] + 1}
    both.clean()
    both.write(OLD_SCHEMA, [failed], [])
    both.write(SCHEMA, [failed, again], [])
    parity = both.compare()
    (jobs_of_groups,) = (table for table in parity.tables if table.table == "failure_group_jobs")
    assert (jobs_of_groups.more, jobs_of_groups.different) == (1, 0)
    assert parity.unexplained == 0
