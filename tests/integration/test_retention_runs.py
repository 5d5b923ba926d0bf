"""Retention of runs: a run goes as a whole, when all of its jobs are expired, and never comes back."""

import json
import os
import random
import subprocess
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from settings.retain import RetainSettings
from store.partitions import ensure_days
from store.retention.plan import plan
from store.retention.run import RetentionState, delete_expired, read_state, retain
from store.retention.session import Horizons, start_of
from testing.services import JOBTRAIL
from tests.integration.aging import (
    DAY_US,
    HORIZON,
    KEEP,
    OPEN_DAYS,
    OPEN_HORIZON,
    TODAY,
    at,
    differences_found,
    event,
    kept,
    placed,
    run,
    session,
    write_events,
)
from tests.law.oracle import oracle_after_retention
from tests.law.tables import difference, read_tables

OPEN = ("suspended", "scheduled", "available", "executing", "retryable")
ENDED = ("completed", "cancelled", "discarded")


def command(url: str, *arguments: str, days: int = 90) -> dict[str, Any]:
    """Run `jobtrail retain --json` as a user does, with the default for open jobs."""
    environment = {**os.environ, "JOBTRAIL_DATABASE_URL": url, "JOBTRAIL_RETENTION_DAYS": str(days)}
    done = subprocess.run(
        [JOBTRAIL, "retain", "--json", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def ago(days: float) -> int:
    """Return the time this many days ago, in microseconds."""
    return round((datetime.now(UTC) - timedelta(days=days)).timestamp()) * 1_000_000


def tables_are_those_of(url: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[str]:
    """Return the differences from the oracle, if ``before`` came before retention ran, and ``after`` came after it."""
    horizons = tuple(int(start_of(day).timestamp()) * 1_000_000 for day in (HORIZON, OPEN_HORIZON))
    expected = oracle_after_retention(before, after, [], (horizons[0], horizons[1]))
    with session(url, autocommit=True) as connection:
        return difference(expected, read_tables(connection))


def test_a_run_of_a_hundred_days_and_a_job_scheduled_in_eighty_stay(database_url_each: str) -> None:
    """With the default settings. The children's attempts from before the horizon still go: they are kept by the day."""
    root = placed("sub-1")
    events = [event("sub-1", "executing", ago(100), **root, expected_children={"Renewal": 4})]
    for number, days in enumerate((95, 65, 35, 5)):
        child = placed("sub-1", "sub-1") | {"worker": "Renewal"}
        events.append(event(f"ren-{number}", "completed", ago(days), **child))
    events.append(event("yearly-1", "scheduled", ago(100), **placed("yearly-1"), scheduled_at=ago(-80)))
    write_events(database_url_each, events)
    assert command(database_url_each, "--dry-run")["jobs"] == 0
    assert command(database_url_each, "--dry-run")["jobs_kept"] == 3
    assert command(database_url_each)["jobs"] == 0
    assert kept(database_url_each) == {"sub-1", "ren-0", "ren-1", "ren-2", "ren-3", "yearly-1"}
    with session(database_url_each, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM lineage_edges").fetchone() == (4,)
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (3,)
    assert differences_found(database_url_each) == []


@pytest.mark.parametrize("state", [*OPEN, *ENDED])
def test_an_open_job_stays_and_one_that_ended_goes(database_url_each: str, state: str) -> None:
    write_events(database_url_each, [event("old", state, at(-1))])
    run(database_url_each)
    assert kept(database_url_each) == ({"old"} if state in OPEN else set())


def test_an_open_job_without_events_for_long_goes_too(database_url: str) -> None:
    """The time is counted from its last event, or from the time that it is scheduled for, if that is later."""
    limit = KEEP - OPEN_DAYS  # days from the horizon to that of open jobs
    far, never = at(365 * 9), at(365 * 70)  # a time more than ten years away is read as not known
    write_events(
        database_url,
        [
            event("within", "executing", at(limit)),
            event("beyond", "executing", at(limit) - 1),
            event("scheduled within", "scheduled", at(limit - 9), scheduled_at=at(limit)),
            event("scheduled beyond", "scheduled", at(limit - 9), scheduled_at=at(limit) - 1),
            event("scheduled far ahead", "scheduled", at(limit - 9), scheduled_at=far),
            event("scheduled for an impossible time", "scheduled", at(limit - 9), scheduled_at=never),
            event("ended, scheduled far ahead", "completed", at(limit - 9), scheduled_at=far),
        ],
    )
    run(database_url)
    assert kept(database_url) == {"within", "scheduled within", "scheduled far ahead"}


def test_without_a_limit_an_open_job_stays_for_ever(database_url: str) -> None:
    write_events(database_url, [event("old", "executing", at(-5000)), event("ended", "completed", at(-5000))])
    run(database_url, HORIZON, None)
    assert kept(database_url) == {"old"}


def test_a_run_stays_whole_while_one_job_of_it_is_open_or_newer(database_url: str) -> None:
    """The root, the other jobs and their edges stay, but nothing of the same ids in another namespace."""
    events = []
    for name, last in (
        ("open", event("open-3", "retryable", at(-2), **placed("open", "open-2"))),
        ("newer", event("newer-3", "completed", at(1), **placed("newer", "newer-2"))),
        ("over", event("over-3", "completed", at(-1), **placed("over", "over-2"))),
    ):
        events.append(event(name, "completed", at(-9), **placed(name)))
        events += [
            event(f"{name}-{number}", "completed", at(-9, number), **placed(name, name)) for number in (1, 2)
        ]
        events.append(last)
    others = [{**one, "namespace": "other", "occurred_at": at(-9), "state": "completed"} for one in events]
    write_events(database_url, [*events, *others])
    done = run(database_url)
    whole = {f"{name}{end}" for name in ("open", "newer") for end in ("", "-1", "-2", "-3")}
    assert kept(database_url) == whole
    assert (done.rows.jobs, done.rows.edges) == (4 + 12, 3 + 9)
    assert tables_are_those_of(database_url, [*events, *others], []) == []
    assert differences_found(database_url) == []


def test_jobs_whose_root_has_no_event_are_a_run(database_url: str) -> None:
    lost, gone = placed("lost", "lost"), placed("gone", "gone")
    write_events(
        database_url,
        [
            event("1", "completed", at(-3), **lost),
            event("2", "executing", at(-3), **lost),
            event("3", "completed", at(-3), **gone),
        ],
    )
    run(database_url)
    assert kept(database_url) == {"1", "2"}


def test_jobs_that_name_only_a_parent_belong_to_its_run(database_url: str) -> None:
    """Up and down over several levels, also if the parent is unknown, or if they are their own ancestors."""

    def below(parent: str) -> dict[str, Any]:
        return {"parent_job_id": parent}

    write_events(
        database_url,
        [
            event("root", "executing", at(-3), **placed("root")),
            event("child", "completed", at(-3), **below("root")),
            event("grandchild", "completed", at(-3), **below("child")),
            # The other way round: the youngest job keeps all jobs above it, and its siblings.
            event("top", "completed", at(-3), **placed("top")),
            event("middle", "completed", at(-3), **placed("top", "top")),
            event("under", "completed", at(-3), **below("middle")),
            event("lowest", "available", at(-3), **below("under")),
            event("sibling", "completed", at(-3), **below("under")),
            # A parent without an event.
            event("orphan", "completed", at(-3), **below("nobody")),
            event("other orphan", "scheduled", at(-3), **below("nobody")),
            # Circles; one of them lives.
            event("a", "completed", at(-3), **below("b")),
            event("b", "completed", at(-3), **below("a")),
            event("c", "completed", at(-3), **below("d")),
            event("d", "executing", at(-3), **below("c")),
            event("self", "completed", at(-3), **below("self")),
            # A chain that is expired.
            event("x", "completed", at(-3), **placed("x")),
            event("y", "completed", at(-3), **below("x")),
            event("z", "completed", at(-3), **below("y")),
        ],
    )
    run(database_url)
    assert kept(database_url) == {
        *("root", "child", "grandchild"),
        *("top", "middle", "under", "lowest", "sibling"),
        *("orphan", "other orphan", "c", "d"),
    }
    assert differences_found(database_url) == []


def test_a_root_stays_while_jobs_name_it_even_if_it_names_another_root(database_url: str) -> None:
    """In a workflow within a workflow, the jobs name the inner root, and the inner root names the outer one."""
    events = [
        event("outer", "completed", at(-3), **placed("outer")),
        event("inner", "completed", at(-3), **placed("outer", "outer")),
        event("job", "executing", at(-3), **placed("inner", "inner")),
    ]
    write_events(database_url, events)
    run(database_url)
    assert kept(database_url) == {"outer", "inner", "job"}


def history() -> list[dict[str, Any]]:
    """Return runs that go and runs that stay, each with ends, failures and edges on both sides of the horizon."""
    events = []
    for number in range(40):
        root = f"run-{number}"
        first = at(-20 + number % 25)
        events.append(event(root, "executing", first, **placed(root)))
        for child in range(number % 5):
            job, place = f"{root}-{child}", placed(root, root)
            events.append(event(job, "executing", first + DAY_US, **place))
            events.append(event(job, "retryable", first + DAY_US + 60, **place))
            events.append(event(job, "completed", first + 2 * DAY_US, **place, attempt=2))
            events.append(event(f"{job}-unplaced", "completed", first, parent_job_id=job))
        if number % 4:
            events.append(event(root, "completed", first + 3 * DAY_US, **placed(root)))
    return events


def test_a_dry_run_counts_exactly_the_rows_that_a_run_then_removes(database_url: str) -> None:
    write_events(database_url, history())
    with session(database_url, autocommit=True) as connection:
        would = plan(connection, KEEP, OPEN_DAYS)
        old = connection.execute("SELECT count(*) FROM jobs WHERE latest_at < %s", [start_of(HORIZON)])
        before = old.fetchone()
        done = retain(connection, KEEP, OPEN_DAYS)
        after = connection.execute("SELECT count(*) FROM jobs WHERE latest_at < %s", [start_of(HORIZON)])
        left = after.fetchone()
        again = plan(connection, KEEP, OPEN_DAYS)
    assert before is not None
    assert left is not None
    assert (would.jobs, would.edges) == (done.rows.jobs, done.rows.edges)
    assert would.jobs > 10
    assert would.jobs_kept == left[0] == before[0] - would.jobs > 10
    assert again.is_empty
    assert again.jobs_kept == would.jobs_kept
    assert tables_are_those_of(database_url, history(), []) == []


def test_redelivery_after_a_removal_changes_nothing(database_url: str) -> None:
    """Every event comes a second time, in any order and in any batches: no run comes back, not even in part."""
    events = history()
    write_events(database_url, events)
    run(database_url)
    with session(database_url, autocommit=True) as connection:
        before = read_tables(connection)
    chance = random.Random(1)
    for _ in range(3):
        chance.shuffle(events)
        for start in range(0, len(events), 17):
            write_events(database_url, events[start : start + 17])
    with session(database_url, autocommit=True) as connection:
        assert difference(before, read_tables(connection)) == []
    assert differences_found(database_url) == []


def test_an_end_that_comes_late_ends_a_job_that_was_kept_and_is_not_counted(database_url: str) -> None:
    """A journal may deliver an end later than the days that are kept. The run then goes with the next removal."""
    begun = [event("1", "executing", at(-3)), event("2", "executing", at(-3), parent_job_id="1")]
    ended = [event("1", "completed", at(-2)), event("2", "completed", at(-2), parent_job_id="1")]
    write_events(database_url, begun)
    run(database_url)
    assert write_events(database_url, ended) == 2
    assert tables_are_those_of(database_url, begun, ended) == []
    with session(database_url, autocommit=True) as connection:
        states = connection.execute("SELECT DISTINCT state FROM jobs").fetchall()
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM attempts), (SELECT count(*) FROM outcomes_hourly)"
        ).fetchone()
    assert (states, counts) == ([("completed",)], (0, 0))
    assert differences_found(database_url) == []
    run(database_url, HORIZON + timedelta(days=1))
    assert kept(database_url) == set()


def test_a_late_event_neither_brings_back_nor_creates_a_job(database_url: str) -> None:
    """A child of a removed run with an event newer than the horizon is stored without its run; older events stay refused."""
    events = [
        event("r", "completed", at(-3), **placed("r")),
        event("c", "completed", at(-3), **placed("r", "r")),
    ]
    late = [
        event("d", "completed", at(-3), **placed("r", "r")),
        event("c", "completed", at(2), attempt=2, **placed("r", "r")),
        event("e", "completed", at(2), **placed("r", "r")),
    ]
    write_events(database_url, events)
    run(database_url)
    write_events(database_url, late)
    write_events(database_url, [*events, *late])
    assert kept(database_url) == {"c", "e"}
    assert tables_are_those_of(database_url, events, [*late, *events]) == []
    assert differences_found(database_url) == []


def test_a_run_that_somebody_writes_to_is_left_whole(database_url: str) -> None:
    """A writer has updated one of its jobs, and has not committed yet."""
    events = [
        event("r", "completed", at(-3), **placed("r")),
        *(event(f"{number}", "completed", at(-3), **placed("r", "r")) for number in range(9)),
        event("over", "completed", at(-3)),
    ]
    write_events(database_url, events)
    with session(database_url) as writer:
        writer.execute("UPDATE jobs SET attempt = 2, latest_at = now() WHERE job_id = '4'")
        assert run(database_url).rows.jobs == 1
        writer.commit()
    assert kept(database_url) == {"r", *map(str, range(9))}


def test_a_run_larger_than_a_transaction_goes_piece_by_piece_past_a_kill(database_url: str) -> None:
    events = [event("r", "completed", at(-3), **placed("r"))]
    events += [event(f"{number}", "completed", at(-3), **placed("r", "r")) for number in range(50)]
    events += [event(f"u{number}", "completed", at(-3), parent_job_id=str(number)) for number in range(50)]
    write_events(database_url, events)
    steps: list[str] = []

    with (
        session(database_url, autocommit=True) as observer,
        session(database_url, autocommit=True) as connection,
    ):

        def reached(step: str) -> None:
            steps.append(step)
            if steps.count("remove a piece of a run: after commit") == 3:
                observer.execute("SELECT pg_terminate_backend(%s, 5000)", [connection.info.backend_pid])

        with pytest.raises(psycopg.OperationalError):
            delete_expired(connection, Horizons(HORIZON, OPEN_HORIZON), reached=reached, batch_rows=10)
    assert 50 < len(kept(database_url)) < 101
    assert differences_found(database_url) == []
    assert run(database_url, batch_rows=10).rows.jobs > 50
    assert kept(database_url) == set()
    with session(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM lineage_edges").fetchone() == (0,)


def test_the_horizon_of_open_jobs_advances_alone_when_its_setting_is_shortened(
    database_url: str,
) -> None:
    write_events(database_url, [event("old", "executing", at(-1))])
    with session(database_url, autocommit=True) as connection:
        assert retain(connection, KEEP, OPEN_DAYS).rows.jobs == 0
        assert retain(connection, KEEP, KEEP).rows.jobs == 1
        assert read_state(connection).horizons == Horizons(HORIZON, HORIZON)
        retain(connection, KEEP, OPEN_DAYS)  # and it never moves back
        assert read_state(connection).horizons == Horizons(HORIZON, HORIZON)


@pytest.mark.parametrize(
    ("keep_open_days", "expected"),
    [(400, TODAY - timedelta(days=400)), (10, TODAY - timedelta(days=90)), (0, None)],
    ids=["longer than all others", "never shorter than all others", "for ever"],
)
def test_how_long_open_jobs_are_kept(keep_open_days: int, expected: Any) -> None:
    now = RetentionState(None, None, None, None, TODAY, 0)
    assert now.wanted(90, keep_open_days) == Horizons(TODAY - timedelta(days=90), expected)


def test_open_jobs_are_kept_longer_than_a_year_unless_set_otherwise() -> None:
    settings = RetainSettings.load(database_url="postgresql:///none")
    assert (settings.retention_days, settings.retention_open_days) == (90, 400)


def test_rows_from_before_the_column_earliest_at_are_treated_alike(database_url: str) -> None:
    """After an upgrade, rows without the time of their first event stay or go by the same rules."""
    write_events(
        database_url,
        [
            event("open", "executing", at(-3)),
            event("over", "completed", at(-3)),
            event("new", "executing", at(1)),
        ],
    )
    with session(database_url) as connection:
        connection.execute("UPDATE jobs SET earliest_at = DEFAULT")
        connection.commit()
    run(database_url)
    assert kept(database_url) == {"open", "new"}
    write_events(database_url, [event("open", "completed", at(-2)), event("over", "completed", at(-3))])
    with session(database_url, autocommit=True) as connection:
        assert connection.execute("SELECT state FROM jobs WHERE job_id = 'open'").fetchone() == ("completed",)
    assert kept(database_url) == {"open", "new"}
    assert differences_found(database_url) == []


def test_runs_are_looked_up_and_removed_by_indexes_alone(database_url: str) -> None:
    """In tables of any size, only the search for old jobs reads them whole, and it reads each page once."""
    events = []
    for number in range(1_500):
        root, day = f"run-{number}", -9 if number % 3 else 2
        events.append(event(root, "completed", at(day), **placed(root)))
        events += [event(f"{root}-{child}", "completed", at(day), **placed(root, root)) for child in (1, 2)]
        events.append(event(f"{root}-3", "completed", at(day), parent_job_id=f"{root}-2"))
    with session(database_url, autocommit=True) as connection:
        ensure_days(connection, HORIZON, TODAY)
    write_events(database_url, events)
    counters = "SELECT sum(seq_scan) FROM pg_stat_user_tables WHERE schemaname = 'jobtrail' AND relname IN ('jobs', 'lineage_edges')"
    with session(database_url, autocommit=True) as connection:
        connection.execute("VACUUM (ANALYZE) jobs, lineage_edges")
        connection.execute("SELECT pg_stat_force_next_flush()")
        before = connection.execute(counters).fetchone()
        done = retain(connection, KEEP, OPEN_DAYS)
        connection.execute("SELECT pg_stat_force_next_flush()")
        after = connection.execute(counters).fetchone()
    assert done.rows.jobs == 4_000
    assert before == after


@pytest.mark.parametrize("fields", [{"root_job_id": "b"}, {"parent_job_id": "b"}, {"parent_job_id": "b-1"}])
@pytest.mark.parametrize("batch_rows", [2, 1], ids=["in one transaction", "in pieces"])
def test_a_run_that_gets_a_job_after_it_was_found_to_be_expired_stays_whole(
    database_url: str, batch_rows: int, fields: dict[str, str]
) -> None:
    """Two runs are found at once; while the first is deleted, a retry adds a job to the second."""
    runs = [
        event(f"{root}{suffix}", "completed", at(-9), **placed(root, parent))
        for root in ("a", "b")
        for suffix, parent in (("", ""), ("-1", root))
    ]
    # A namespace in which no job lacks its root needs no look for such jobs.
    runs.append(event("c", "completed", at(-9), parent_job_id="d"))
    write_events(database_url, runs)
    other: list[str] = []

    def add_a_job_to_the_other_run(step: str) -> None:
        whole = [root for root in ("a", "b") if {root, f"{root}-1"} <= kept(database_url)]
        if not step.endswith("after commit") or len(whole) == 2 or other:
            return
        other.extend(whole)
        added = {name: value.replace("b", other[0], 1) for name, value in fields.items()}
        write_events(database_url, [event("new", "available", at(1), **added)])

    run(database_url, batch_rows=batch_rows, reached=add_a_job_to_the_other_run)
    (root,) = other
    assert kept(database_url) == {"new", root, f"{root}-1"}
    assert differences_found(database_url) == []


def test_a_dry_run_says_that_nothing_goes_before_the_horizon_advances_again(database_url: str) -> None:
    """A kept job ended late, on the day of the last run: `retain` deletes it with the next day's horizon."""
    write_events(database_url, [event("o", "executing", at(-5))])
    with session(database_url, autocommit=True) as connection:
        retain(connection, KEEP, OPEN_DAYS)
        write_events(database_url, [event("o", "completed", at(-4))])
        planned = plan(connection, KEEP, OPEN_DAYS)
        done = retain(connection, KEEP, OPEN_DAYS)
    assert planned.is_empty
    assert (planned.jobs, planned.jobs_kept, done.rows.jobs) == (0, 1, 0)
    assert kept(database_url) == {"o"}
