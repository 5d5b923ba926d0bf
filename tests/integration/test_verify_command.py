"""`jobtrail verify` as people and programs use it, and beside writers."""

import json
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from derive.fold import fold
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.partitions import ensure_near_days
from store.verify.run import verify
from store.writing.writer import prepare_session, write_batch
from testing.workload import events
from tests.integration.command import Jobtrail, jobtrail_with
from tests.integration.story import ago, event, failure, incident, root_of, store_events


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Return a function that runs the command."""
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)

    return jobtrail_with(capsys)


def whole_event(fields: dict[str, Any]) -> Event:
    """Return the event with the default for every missing field."""
    error = {**failure("", ""), **fields["error"]} if "error" in fields else None
    return Event(**{**fields, "error": error})


def test_verify_without_a_difference_ends_with_0(database_url: str, jobtrail: Jobtrail) -> None:
    store_events(database_url, incident()).close()
    assert jobtrail("verify", "--since", "24h") == (
        0,
        "no difference in outcomes_hourly, failure_groups_hourly, failure_groups, failure_group_jobs, jobs, "
        "lineage_edges.\n",
        "",
    )


def test_verify_names_and_counts_differences_and_ends_with_1(database_url: str, jobtrail: Jobtrail) -> None:
    with closing(store_events(database_url, incident())) as connection:
        connection.execute("UPDATE outcomes_hourly SET completed = completed + 1 WHERE worker = 'SyncJob'")
        connection.execute("DELETE FROM jobs WHERE job_id IN ('page-100', 'page-101', 'page-102')")
    status, out, err = jobtrail("verify", "--limit", "2")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith(
        "outcomes_hourly  namespace kino, source '', worker SyncJob, queue syncjob, hour "
    )
    assert lines[0].endswith("  completed is 2, expected 1")
    assert lines[1].startswith(
        "lineage_edges  namespace kino, upstream_job_id 12345, job_id page-100, kind spawned"
    )
    assert lines[1].endswith("  should not be there")
    assert lines[2:] == [
        "… and 2 more",
        "",
        "4 differences: outcomes_hourly 1, lineage_edges 3.",
    ]
    status, out, err = jobtrail("verify", "--table", "lineage_edges", "--table", "jobs", "--json")
    assert (status, err) == (1, "")
    found = json.loads(out)
    assert (found["tables"], found["differences_total"], found["by_table"]) == (
        ["lineage_edges", "jobs"],
        3,
        {"lineage_edges": 3},
    )
    assert found["differences"][0] == {
        "table": "lineage_edges",
        "key": {"namespace": "kino", "upstream_job_id": "12345", "job_id": "page-100", "kind": "spawned"},
        "column": None,
        "stored": {},
        "expected": None,
    }
    assert jobtrail("verify", "--table", "outcomes_hourly", "--since", "1s")[0] in (0, 1)


def test_ids_that_were_used_again_are_named_and_are_not_a_difference(
    database_url: str, jobtrail: Jobtrail
) -> None:
    """This includes one with a normal latest attempt: an earlier one ended twice, which only verify looks for."""
    slow = failure("timeout", "no answer")
    nightly = [
        event("NightlyJob", "nightly", state, ago(hours=hours), **extra, **root_of("nightly"))
        for state, hours, extra in (
            ("completed", 72, {}),
            ("retryable", 48, {"error": slow}),
            ("retryable", 24, {"error": slow}),
            ("executing", 1, {}),
        )
    ]
    weekly = [
        event("WeeklyJob", "weekly", "completed", ago(days=8)),
        event("WeeklyJob", "weekly", "retryable", ago(days=1), error=slow),
        event("WeeklyJob", "weekly", "completed", ago(hours=23), attempt=2),
    ]
    store_events(database_url, [*incident(), *nightly, *weekly]).close()
    status, out, err = jobtrail("verify")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("no difference in ")
    assert lines[2].startswith("⚠ 2 ids were used again. That is not a difference")
    assert lines[3].startswith(
        "NightlyJob #nightly of kino, completed: id used again: 3 ends of attempt 1; the last end: retryable at "
    )
    assert "; waiting or executing again at " in lines[3]
    assert lines[4].startswith(
        "WeeklyJob #weekly of kino, completed: id used again: 2 ends of attempt 1; the last end: completed at "
    )
    assert jobtrail("verify", "--limit", "1")[1].splitlines()[4] == "… and 1 more"
    found = json.loads(jobtrail("verify", "--json")[1])
    assert (found["differences_total"], found["reused_ids_total"]) == (0, 2)
    assert [(job["job_id"], job["attempt"], job["ends"]) for job in found["reused_ids"]] == [
        ("nightly", 1, 3),
        ("weekly", 1, 2),
    ]
    assert jobtrail("verify", "--table", "outcomes_hourly")[1] == "no difference in outcomes_hourly.\n"


def test_verify_without_a_database_ends_with_2(jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    assert jobtrail("verify")[0] == 2


def test_verify_beside_a_writer_and_new_partitions_finds_no_difference(database_url: str) -> None:
    """A writer commits batch after batch, and moves rows out of the default partition, while verify reads."""
    settings = DatabaseSettings.load(database_url=database_url)
    month_ago = datetime.now(UTC) - timedelta(days=30)
    generated = list(events(1_500, start_us=int(month_ago.timestamp() * 1e6)))
    generated += events(
        1_500, seed=2, start_us=int((datetime.now(UTC) - timedelta(days=2)).timestamp() * 1e6)
    )
    whole = [whole_event(fields) for fields in generated]
    failed: list[BaseException] = []

    def write() -> None:
        try:
            with closing(connect(settings, "jobtrail test writer")) as connection:
                prepare_session(connection)
                for first in range(0, len(whole), 250):
                    write_batch(connection, fold(whole[first : first + 250]))
                    if first == 2_500:
                        ensure_near_days(connection, month_ago)
                        connection.commit()
        except BaseException as error:  # noqa: BLE001 - the test's thread checks it
            failed.append(error)

    writer = threading.Thread(target=write)
    with closing(connect(settings, "jobtrail test", autocommit=True)) as connection:
        writer.start()
        rounds = 0
        while writer.is_alive() or rounds == 0:
            assert list(verify(connection)) == []
            rounds += 1
        writer.join()
        assert failed == []
        assert list(verify(connection)) == []
        assert connection.execute("SELECT count(*) > 3_000 FROM attempts").fetchone() == (True,)
