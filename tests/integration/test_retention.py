"""Retention: it deletes older data, subtracts it from the aggregates, and finishes what an interrupted run began."""

import json
import os
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from consumers.aggregator.retention import RetentionUpkeep
from derive.rows import DeadLetter
from settings.aggregator import AggregatorSettings
from store.migrate import applied_version
from store.partitions import ensure_days, ensure_near_days
from store.retention.plan import plan
from store.retention.run import Done, delete_expired, read_state, retain
from store.retention.session import Horizons, Pace, RetentionBlockedError, RetentionStoppedError, start_of
from testing.services import JOBTRAIL, wait_until
from tests.integration import aging
from tests.integration.aging import (
    HORIZON,
    KEEP,
    TODAY,
    US,
    at,
    differences_found,
    event,
    session,
    write_events,
)
from tests.law.oracle import oracle_after_retention
from tests.law.tables import difference, read_tables


def failure(job_id: str, when: int, message: str = "film 17 is not ready", **fields: Any) -> dict[str, Any]:
    error = dict.fromkeys(("stacktrace", "fingerprint"), "") | {
        "category": "not_ready",
        "type": "NotReady",
        "message": message,
        "origin": "",
    }
    return event(job_id, "discarded", when, error=error | fields.pop("error", {}), **fields)


OWN = {"error": {"fingerprint": "own"}}
"""Failures with this error are one group, whatever their message is."""


def history() -> list[dict[str, Any]]:
    """Return two weeks of events: jobs that are old, new, or on both sides of the horizon; groups that go, shrink or stay."""
    events = []
    for day in range(-7, 6):
        for number in range(6):
            job = f"{day}-{number}"
            fields = {"root_job_id": f"{day}-0", "parent_job_id": f"{day}-0" if number else "", "depth": 1}
            events.append(event(job, "executing", at(day, number), **fields))
            events.append(event(job, "completed", at(day, 3600 * number), **fields))
        events.append(failure(f"{day}-1", at(day, 60)))
        events.append(failure("through", at(day, 70), attempt=day + 8))
        events.append(failure(f"{day}-2", at(day, 80), f"title {'abcdefghijklm'[day + 7]}", **OWN))
    events.append(failure("3", at(-3), "only then"))
    return events


LETTERS = [DeadLetter("t", str(day), "malformed", "", b"\0", "", at(day), 0) for day in range(-3, 3)]


def differences(url: str, events: list[dict[str, Any]], horizon: date = HORIZON) -> list[str]:
    """Return the differences from the oracle, if all of these events came before the horizon advanced."""
    letters = [tuple(letter) for letter in LETTERS]
    horizon_us = int(start_of(horizon).timestamp()) * US
    expected = oracle_after_retention(events, [], letters, (horizon_us, horizon_us))
    with session(url, autocommit=True) as connection:
        return difference(expected, read_tables(connection))


@pytest.fixture
def history_url(database_url_each: str) -> str:
    with session(database_url_each) as connection:
        ensure_days(
            connection, HORIZON - timedelta(days=4), TODAY
        )  # attempts of earlier days are in the default partition
    write_events(database_url_each, history(), LETTERS)
    return database_url_each


def run(url: str, **more: Any) -> Done:
    """Remove what is expired, with the same horizon for open jobs."""
    return aging.run(url, HORIZON, HORIZON, **more)


BOTH = Horizons(HORIZON, HORIZON)


@pytest.mark.parametrize("at_once", [50_000, 1], ids=["dropping whole days", "thinning out first"])
def test_older_data_goes_and_the_aggregates_are_those_of_the_rest(history_url: str, at_once: int) -> None:
    done = run(history_url, at_once=at_once, batch_rows=3 if at_once == 1 else 5_000)
    assert differences(history_url, history()) == []
    assert differences_found(history_url) == []
    assert len(done.attempts.partitions) == 4
    assert done.rows.jobs == 7 * 6 + 1
    assert done.rows.edges == 7 * 5
    assert done.rows.dead_letters == 3
    with session(history_url, autocommit=True) as connection:
        assert read_state(connection)[:4] == (HORIZON,) * 4


def test_a_title_that_only_older_failures_had_goes_with_them(history_url: str) -> None:
    titles = "SELECT title FROM failure_groups WHERE fingerprint = 'own'"
    with session(history_url, autocommit=True) as connection:
        assert connection.execute(titles).fetchone() == ("title a",)
        delete_expired(connection, BOTH)
        assert connection.execute(titles).fetchone() == ("title h",)


def test_an_event_before_the_horizon_is_counted_as_expired_each_time_it_comes(history_url: str) -> None:
    run(history_url)
    with session(history_url, autocommit=True) as connection:
        before = read_tables(connection)
    old = [one for one in history() if one["occurred_at"] < at(0)]
    for _ in range(2):
        assert write_events(history_url, old, LETTERS[:3]) == len(old)
    with session(history_url, autocommit=True) as connection:
        assert difference(before, read_tables(connection)) == []


def test_the_horizon_never_moves_back(history_url: str) -> None:
    run(history_url)
    with session(history_url, autocommit=True) as connection:
        delete_expired(connection, Horizons(HORIZON - timedelta(days=3), None))
        assert read_state(connection).horizons == BOTH
        # Nor does one horizon move back when the other one advances.
        delete_expired(connection, Horizons(HORIZON + timedelta(days=1), HORIZON - timedelta(days=3)))
        assert read_state(connection).horizons == Horizons(HORIZON + timedelta(days=1), HORIZON)


def test_daily_retention_with_nothing_to_do_is_cheap(history_url: str) -> None:
    steps: list[str] = []
    with session(history_url, autocommit=True) as connection:
        first = retain(connection, KEEP, KEEP)
        assert (first.horizon_before, first.horizon) == (None, HORIZON)
        again = retain(connection, KEEP, KEEP, reached=steps.append)
    assert (again.horizon_before, again.horizon) == (HORIZON, HORIZON)
    assert steps == []


def test_zero_days_keep_everything(history_url: str) -> None:
    with session(history_url, autocommit=True) as connection:
        before = read_tables(connection)
        assert retain(connection, 0, KEEP).horizon is None
        assert difference(before, read_tables(connection)) == []


def test_every_day_that_is_kept_has_a_partition(history_url: str) -> None:
    with session(history_url, autocommit=True) as connection:
        retain(connection, 20, 20)
        assert ensure_days(connection, TODAY - timedelta(days=20), TODAY + timedelta(days=7)) == []
        assert connection.execute("SELECT count(*) FROM attempts_default").fetchone() == (0,)


def test_no_partition_is_created_for_a_day_before_the_horizon(history_url: str) -> None:
    run(history_url)
    with session(history_url, autocommit=True) as connection:
        names = ensure_near_days(connection, datetime.combine(HORIZON, datetime.min.time(), UTC))
    assert min(names, default="attempts_9") >= f"attempts_{HORIZON:%Y%m%d}"


def test_retention_that_is_killed_at_any_step_is_finished_by_the_next(
    history_url: str, postgres_of_version: Callable[[int], Any]
) -> None:
    """The session is ended before and after the commit of each step; the aggregates are always right."""
    steps: list[str] = []
    kills = 0
    with session(history_url, autocommit=True) as observer:
        for number in range(1, 100):
            steps.clear()
            with session(history_url, autocommit=True) as connection:
                pid = connection.info.backend_pid

                def reached(step: str, number: int = number, pid: int = pid) -> None:
                    steps.append(step)
                    if len(steps) == number:
                        observer.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])

                try:
                    delete_expired(connection, BOTH, reached=reached, batch_rows=40, at_once=2)
                except psycopg.OperationalError:
                    kills += 1
            if kills < number:
                break
            if number % 3 == 1:
                assert differences_found(history_url) == []
    assert kills > 3
    assert differences_found(history_url) == []
    assert differences(history_url, history()) == []


def test_only_one_retention_runs_at_a_time(history_url: str) -> None:
    seen: list[bool] = []

    def reached(_step: str) -> None:
        if not seen:
            seen.append(run(history_url).busy)

    assert not run(history_url, reached=reached).busy
    assert seen == [True]


def test_retention_waits_only_briefly_for_a_lock_and_tries_again(history_url: str, monkeypatch: Any) -> None:
    """During a long read of attempts, new readers and writers must not queue behind a waiting retention."""
    pauses: list[float] = []
    with session(history_url) as reader:
        reader.execute("SELECT count(*) FROM attempts")

        def wait(seconds: float) -> bool:
            pauses.append(seconds)
            if len(pauses) > 3:
                reader.rollback()
            return False

        done = run(history_url, pace=Pace(1.0, wait))
    assert len(done.attempts.partitions) == 4
    assert differences_found(history_url) == []


def test_a_lock_that_is_never_released_is_reported(history_url: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("store.retention.session._TRIES", 2)
    with session(history_url) as reader:
        reader.execute("SELECT count(*) FROM attempts")
        with pytest.raises(RetentionBlockedError, match="drop a partition"):
            run(history_url, pace=Pace(1.0, lambda _seconds: False))
    assert differences_found(history_url) == []
    assert len(run(history_url).attempts.partitions) == 4


def test_retention_stops_when_asked(history_url: str) -> None:
    with pytest.raises(RetentionStoppedError):
        run(history_url, pace=Pace(0.5, lambda _seconds: True))
    run(history_url)
    assert differences(history_url, history()) == []


def test_a_dry_run_shows_what_a_run_then_does(history_url: str) -> None:
    with session(history_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
        would = plan(connection, KEEP, KEEP)
        aggregates = "SELECT (SELECT count(*) FROM failure_groups), (SELECT count(*) FROM failure_groups_hourly), (SELECT count(*) FROM outcomes_hourly)"
        before = connection.execute(aggregates).fetchone()
        done = retain(connection, KEEP, KEEP)
        after = connection.execute(aggregates).fetchone()
        assert plan(connection, KEEP, KEEP).is_empty
    assert (would.horizon, would.wanted) == (None, HORIZON)
    assert [day.name for day in would.days] == done.attempts.partitions
    assert would.attempts_without_partition == done.attempts.rows
    assert sum(day.attempts for day in would.days) == 4 * 9 + 1
    assert (would.jobs, would.dead_letters) == (done.rows.jobs, done.rows.dead_letters)
    assert before is not None
    assert after is not None
    assert (would.failure_groups, would.failure_group_hours, would.outcome_hours) == tuple(
        one - other for one, other in zip(before, after, strict=True)
    )


def command(*arguments: str, url: str, days: str = str(KEEP)) -> "subprocess.CompletedProcess[str]":
    """Run `jobtrail retain` as a user does."""
    environment = {**os.environ, "JOBTRAIL_DATABASE_URL": url, "JOBTRAIL_RETENTION_DAYS": days}
    return subprocess.run(
        [JOBTRAIL, "retain", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_shows_what_would_go_and_what_went(history_url: str) -> None:
    dry = command("--dry-run", url=history_url)
    assert dry.returncode == 0, dry.stderr
    assert f"the horizon would advance from nowhere to {HORIZON}" in dry.stdout
    assert f"attempts_{HORIZON - timedelta(days=1):%Y%m%d}: about" in dry.stdout
    asked = json.loads(command("--dry-run", "--json", url=history_url).stdout)
    did = command("--json", url=history_url)
    assert did.returncode == 0, did.stderr
    answer = json.loads(did.stdout)
    assert answer["days"] == [day["name"] for day in asked["days"]]
    assert (answer["horizon_before"], answer["horizon"]) == (None, HORIZON.isoformat())
    assert (answer["jobs"], answer["dead_letters"]) == (asked["jobs"], asked["dead_letters"])
    assert "nothing to do" in command(url=history_url).stdout
    assert "nothing would be deleted" in command("--dry-run", url=history_url).stdout
    assert differences_found(history_url) == []


def test_a_number_of_days_that_is_probably_a_mistake_is_refused(history_url: str) -> None:
    refused = command(url=history_url, days="3")
    assert refused.returncode == 2
    assert "JOBTRAIL_RETENTION_DAYS" in refused.stderr
    assert "everything is kept" in command(url=history_url, days="0").stdout


def test_an_aggregator_runs_retention(history_url: str) -> None:
    horizons: list[date | None] = []
    looked = threading.Event()

    def on_horizon(horizon: date | None) -> None:
        horizons.append(horizon)
        looked.set()

    settings = AggregatorSettings.load(database_url=history_url, retention_days=KEEP, retention_share=1)
    with RetentionUpkeep(settings, on_horizon, first_after_seconds=0):
        assert looked.wait(60)
    assert horizons == [HORIZON]
    assert differences(history_url, history()) == []


def test_an_aggregator_deletes_nothing_from_tables_that_need_a_later_release(history_url: str) -> None:
    """A later release may keep what this one would delete."""
    with session(history_url) as connection:
        later = applied_version(connection) + 1
        connection.execute(
            "INSERT INTO jobtrail_control.migrations VALUES (%s, %s, 'a_later_one')", [later, later]
        )
        connection.commit()
    settings = AggregatorSettings.load(database_url=history_url, retention_days=KEEP, retention_share=1)
    with capture_logs() as lines:
        upkeep = RetentionUpkeep(settings, first_after_seconds=0)
        with upkeep:
            wait_until(lambda: any(line["event"] == "retention_failed" for line in lines), "the failure")
    assert "Update this program" in lines[0]["error"]
    with session(history_url) as connection:
        assert read_state(connection).horizon is None


@pytest.mark.parametrize("off", [{"retention_days": 0}, {"retention_in_aggregator": False}])
def test_an_aggregator_does_not_run_retention_when_it_is_switched_off(
    history_url: str, off: dict[str, Any]
) -> None:
    settings = AggregatorSettings.load(database_url=history_url, **off)
    with RetentionUpkeep(settings, first_after_seconds=0):
        assert "retention" not in {thread.name for thread in threading.enumerate()}


def test_four_writers_go_on_while_days_are_dropped_and_jobs_removed(history_url: str) -> None:
    """Writers add failures to the same groups, and events to old jobs: there is no deadlock, and the aggregates are right."""
    stop = threading.Event()
    wrong: list[BaseException] = []
    written: list[dict[str, Any]] = []

    def write(writer: int) -> None:
        try:
            for number in range(10_000):
                if stop.is_set():
                    return
                batch = [
                    failure(f"{day}-1", at(8 - day % 3, number), attempt=number + 2 + 10_000 * writer)
                    for day in range(-7, 6)
                ]
                write_events(history_url, batch)
                written.extend(batch)
        except BaseException as error:  # noqa: BLE001  # the test fails with any error, and shows it
            wrong.append(error)

    writers = [threading.Thread(target=write, args=[writer]) for writer in range(4)]
    for thread in writers:
        thread.start()
    try:
        done = run(history_url, batch_rows=10, at_once=2)
    finally:
        stop.set()
        for thread in writers:
            thread.join()
    assert wrong == []
    assert len(done.attempts.partitions) == 4
    assert differences_found(history_url) == []
    lines = differences(history_url, [*history(), *written])
    assert [line for line in lines if not line.startswith(("jobs(", "lineage_edges("))] == []
