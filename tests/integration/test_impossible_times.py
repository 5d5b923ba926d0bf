"""Impossible times in an event whose own time is right: they count as not known, so that they spoil no answer."""

import io
import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fastavro
import psycopg
import pytest

from schemas.contract import SCHEMA, SCHEMA_TEXT, Event
from schemas.decode import decoder
from schemas.writer_schema import plain_schema
from store.answers.lineage import get_pipeline_stats
from store.answers.runs import get_runs
from testing.impossible_times import IMPOSSIBLE_TIMES
from tests.integration.story import KINO, NOW, ago, event, placed, root_of, store_events

FILES = Path(__file__).parents[1] / "times"
RAW = fastavro.parse_schema(plain_schema(SCHEMA))
DECODE = decoder(SCHEMA_TEXT)


def events_of(name: str) -> list[Event]:
    """Return the events of a file, encoded and decoded."""
    found = []
    for line in (FILES / name).read_text().splitlines():
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, RAW, json.loads(line))
        found.append(DECODE(stream.getvalue()))
    return found


def times_of(connection: psycopg.Connection, table: str) -> dict[str, tuple[Any, ...]]:
    """Map each job to (enqueued_at, scheduled_at, started_at), in microseconds."""
    micros = ", ".join(
        f"(extract(epoch FROM {name}) * 1000000)::bigint"
        for name in ("enqueued_at", "scheduled_at", "started_at")
    )
    rows = connection.execute(f"SELECT job_id, {micros} FROM jobtrail.{table}").fetchall()
    return {job_id: tuple(times) for job_id, *times in rows}


@pytest.mark.parametrize("name", ["zero-time.jsonl", "milliseconds.jsonl"])
def test_a_wrong_start_of_one_job_does_not_hide_that_its_stage_is_stuck(
    database_url_each: str, name: str
) -> None:
    """One job has been executing for three days, one waits; the third claims to have run for 2,000 years, or for 56."""
    events = events_of(name)
    now = datetime.fromtimestamp(events[-1].occurred_at / 1e6, UTC) + timedelta(days=3)
    with closing(store_events(database_url_each, events)) as connection:
        assert times_of(connection, "attempts") == {"z1": (None, None, None)}
        stats = get_pipeline_stats(connection, events[0].namespace, "z0", now=now)
    (stage,) = (stage for stage in stats.stages if stage.worker == "Sync")
    assert stage.stuck is not None
    assert (stage.stuck.waiting, stage.stuck.lost) == (1, 1)


@pytest.mark.parametrize("wrong", IMPOSSIBLE_TIMES.values(), ids=IMPOSSIBLE_TIMES)
def test_an_impossible_time_is_stored_as_not_known(database_url: str, wrong: Any) -> None:
    """It is so alone, and beside a right time from another event, in either order."""
    at = ago(minutes=5)
    impossible = dict.fromkeys(("enqueued_at", "scheduled_at", "started_at"), wrong(at))
    right = {"enqueued_at": at - 3, "scheduled_at": at - 2, "started_at": at - 1}
    events = [
        event("W", "alone", "completed", at, **impossible),
        event("W", "last", "executing", at - 1, **right),
        event("W", "last", "completed", at, **{**right, **impossible}),
        event("W", "first", "executing", at - 1, **impossible),
        event("W", "first", "completed", at, **right),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert times_of(connection, "attempts") == {
            "alone": (None, None, None),
            "last": (None, None, None),
            "first": (at - 3, at - 2, at - 1),
        }
        assert times_of(connection, "jobs") == {
            "alone": (None, None, None),
            "last": (at - 3, None, at - 1),
            "first": (at - 3, at - 2, at - 1),
        }


def test_an_attempt_between_two_clocks_is_not_the_longest_of_its_stage(database_url: str) -> None:
    """It began by a clock in 2019 and ended by today's clock; each event is plausible by itself."""
    old = ago(days=3_000)
    events = [
        event("SyncJob", "1", "executing", ago(days=4), **root_of("1")),
        event("W", "a", "executing", old, started_at=old, **placed("1", "1", 1)),
        event(
            "W",
            "a",
            "completed",
            ago(days=3, minutes=10),
            started_at=ago(days=3, minutes=11),
            **placed("1", "1", 1),
        ),
        event("W", "b", "executing", ago(days=3), started_at=ago(days=3), **placed("1", "1", 1)),
        event("W", "c", "available", ago(days=3), **placed("1", "1", 1)),
    ]
    with closing(store_events(database_url, events)) as connection:
        stats = get_pipeline_stats(connection, KINO, "1", now=NOW)
    (stage,) = (stage for stage in stats.stages if stage.worker == "W")
    assert stage.stuck is not None
    assert (stage.stuck.waiting, stage.stuck.lost) == (1, 1)


def test_a_run_does_not_begin_in_the_year_1(database_url: str) -> None:
    at = ago(minutes=5)
    zero = IMPOSSIBLE_TIMES["the zero time of Go and .NET"](at)
    root = event("SyncJob", "1", "completed", at, enqueued_at=zero, started_at=at - 7, **root_of("1"))
    with closing(store_events(database_url, [root])) as connection:
        (run,) = get_runs(connection, KINO)
    assert run.started_at == datetime.fromtimestamp((at - 7) // 1_000_000, UTC) + timedelta(
        microseconds=(at - 7) % 1_000_000
    )
