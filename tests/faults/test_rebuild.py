"""A rebuild as a process beside working aggregators and publishers: it disturbs none of them, and no kill harms it."""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from broker import provision
from derive.fold import fold
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from servers.postgres import PostgresServer
from servers.pulsar import Pulsar
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.migrate import migrate
from store.retention.run import retain
from store.verify.run import verify
from store.writing.writer import prepare_session, write_batch
from testing.events import NOW_US, events
from testing.publish import publish
from testing.services import JOBTRAIL, Service, service, wait_until
from testing.topics import EVENT, encode, own_topic, service_settings
from testing.workload import Message, messages
from tests.faults.director import Director
from tests.faults.plan import REBUILD_STEPS
from tests.faults.truth import judge, read_topic
from tests.law.tables import difference, read_tables

PARTITIONS = 2
DAY_US = 24 * 3600 * 1_000_000
SECONDS = 180

LATE_TO_DISK = {"wal_writer_delay": "10s", "wal_writer_flush_after": "1GB"}
"""Commits that do not wait for the disk are written late."""

_CRASHES = 8

POLLED = ("jobs", "attempts", "lineage_edges", "failure_groups", "outcomes_hourly")


@pytest.fixture
def topic(pulsar: Pulsar) -> ProvisionSettings:
    settings = own_topic(pulsar, provision_partitions=PARTITIONS)
    provision.run(settings, check=False)
    return settings


def environment(topic: ProvisionSettings, database_url: str) -> dict[str, str]:
    return {
        **service_settings(topic, database_url),
        "JOBTRAIL_AGGREGATOR_BATCH_EVENTS": "1000",
        "JOBTRAIL_REBUILD_BATCH_EVENTS": "2000",
    }


def start(settings: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [JOBTRAIL, "rebuild", *arguments],
        env={**os.environ, **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def rebuild(settings: dict[str, str], *arguments: str) -> tuple[int, str, str]:
    """Run `jobtrail rebuild`; return its status, standard output and standard error."""
    running = start(settings, *arguments)
    try:
        out, err = running.communicate(timeout=SECONDS)
    finally:
        running.kill()
    return running.returncode, out, err


def workload(jobs: int, seed: int = 1) -> list[Message]:
    """Return messages, some of which are not events."""
    some = messages(jobs, seed=seed, start_us=_six_hours_ago())
    return [*some, *(Message("bad", one.payload[:20]) for one in some[:7])]


def _six_hours_ago() -> int:
    return time.time_ns() // 1000 - 6 * 3600 * 1_000_000


def one(connection: psycopg.Connection[Any], query: str) -> Any:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]


@contextlib.contextmanager
def publishing(topic: ProvisionSettings, sent: list[int]) -> Iterator[None]:
    """Publish some hundred events after another while the block runs."""
    stop = threading.Event()

    def work() -> None:
        seed = 100
        while not stop.wait(0.2):
            seed += 1
            some = [
                Message(f"{seed}-{m.key}", m.payload)
                for m in messages(60, seed=seed, start_us=_six_hours_ago())
            ]
            sent.append(publish(topic.pulsar_url, topic.topic, some))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


class Poller:
    """Counts the rows of each table twenty times a second, like a dashboard, and records each table that shrank."""

    def __init__(self, database_url: str) -> None:
        self.rounds = 0
        self.wrong: list[str] = []
        self._url = database_url
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def __enter__(self) -> "Poller":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _work(self) -> None:
        least = dict.fromkeys(POLLED, 0)
        with psycopg.connect(self._url, autocommit=True, prepare_threshold=0) as connection:
            while not self._stop.wait(0.05):
                for table in POLLED:
                    try:
                        found = one(connection, f"SELECT count(*) FROM jobtrail.{table}")
                    except psycopg.Error as error:
                        self.wrong.append(f"{table}: {error}")
                        continue
                    if found < least[table]:
                        self.wrong.append(f"{table}: {found} rows after {least[table]}")
                    least[table] = found
                self.rounds += 1


def test_a_rebuild_disturbs_neither_writers_nor_readers(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """Two aggregators under load and a reader at 20 Hz see no error, and no smaller or missing table; then all tables are right."""
    settings = environment(topic, database_url)
    publish(topic.pulsar_url, topic.topic, workload(6_000))
    sent: list[int] = []
    with (
        service("aggregate", settings, tmp_path / "one.log") as first,
        service("aggregate", settings, tmp_path / "two.log") as second,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        wait_until(
            lambda: one(observer, "SELECT count(*) FROM jobtrail.jobs") == 6_000, "jobs", first.end_of_log
        )
        group = one(observer, "SELECT id FROM jobtrail.failure_groups LIMIT 1")
        observer.execute(
            "INSERT INTO jobtrail_triage.failure_groups (failure_group_id, status) VALUES (%s, 'resolved'), "
            "('00000000-0000-0000-0000-000000000000', 'ignored')",
            [group],
        )
        before = one(observer, "SELECT 'jobtrail.jobs'::regclass::oid::bigint")
        with Poller(database_url) as poller, publishing(topic, sent):
            status, out, err = rebuild(settings, "--json")
            wait_until(lambda: len(sent) > 3, "events published meanwhile")
        assert status == 0, f"{out}\n{err}"
        report = json.loads(out)
        assert poller.wrong == []
        assert poller.rounds > 10
        assert one(observer, "SELECT 'jobtrail.jobs'::regclass::oid::bigint") != before
        assert one(observer, "SELECT to_regnamespace('jobtrail_old')::text") is None
        assert report["unexplained"] == 0
        assert report["triage_without_group"] == 1
        assert report["dead_letters"] == 7
        assert one(observer, "SELECT count(*) FROM jobtrail_triage.failure_groups") == 2
        _wait_for_everything(topic, observer, first)
        for replica in (first, second):
            assert replica.stop() == 0, replica.end_of_log()
            text = replica.log.read_text()
            assert "error" not in text.lower(), text
            assert "batch_failed" not in text


def test_killed_at_every_step_it_goes_on(
    topic: ProvisionSettings, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SIGKILL at each step, and once more by a kill of a loading process; an aggregator works on all the time."""
    settings = environment(topic, database_url)
    publish(topic.pulsar_url, topic.topic, workload(4_000))
    killed = []
    with (
        Director() as director,
        service("aggregate", settings, tmp_path / "log") as aggregator,
        psycopg.connect(database_url, autocommit=True) as observer,
    ):
        wait_until(
            lambda: one(observer, "SELECT count(*) FROM jobtrail.jobs") == 4_000,
            "jobs",
            aggregator.end_of_log,
        )
        for step in REBUILD_STEPS:
            trap = director.trap(step)
            running = start({**settings, **director.environment})
            held = trap.wait(SECONDS)
            if held is None:
                running.kill()
                pytest.fail(f"{step} was not reached:\n{running.communicate()[1]}")
            if step == "loading":
                held.kill()  # a loading process: its parent reports it and ends
                assert running.wait(SECONDS) == 2
            running.kill()
            running.communicate()
            held.kill()
            killed.append(step)
            count = one(observer, "SELECT count(*) FROM jobtrail.jobs")
            assert count >= 4_000, f"{count} jobs after a kill at {step!r}"
        publish(topic.pulsar_url, topic.topic, workload(500, seed=2))
        status, out, err = rebuild(settings, "--json")
        assert status == 0, f"{out}\n{err}"
        assert json.loads(out)["unexplained"] == 0
        assert one(observer, "SELECT count(*) FROM jobtrail_control.rebuilds") == 1, (
            "it began again instead of continuing"
        )
        assert one(observer, "SELECT state FROM jobtrail_control.rebuilds") == "done"
        _wait_for_everything(topic, observer, aggregator)
        assert aggregator.stop() == 0
    with capsys.disabled():
        print(f"\n    a rebuild was killed at: {', '.join(killed)}")


def test_a_crash_of_postgres_during_loading_loses_rows_and_position_together(
    topic: ProvisionSettings, tmp_path: Path
) -> None:
    """A rebuild does not wait for the disk, so a crash loses commits, here those of up to ten seconds. They are loaded again."""
    with PostgresServer(durable=True, settings=LATE_TO_DISK) as postgres:
        url = postgres.url()
        with connect(DatabaseSettings.load(database_url=url), "jobtrail tests") as connection:
            migrate(connection)
        settings = {**environment(topic, url), "JOBTRAIL_REBUILD_BATCH_EVENTS": "300"}
        publish(topic.pulsar_url, topic.topic, workload(4_000))
        with service("aggregate", settings, tmp_path / "log") as aggregator:
            with psycopg.connect(url, autocommit=True) as observer:
                wait_until(lambda: one(observer, "SELECT count(*) FROM jobtrail.jobs") == 4_000, "jobs")
            lost: list[int] = []
            while not any(lost):
                # Any other commit writes these to the disk too, so several tries may be needed.
                assert len(lost) < _CRASHES, "no crash lost a commit, so this tested nothing"
                lost.append(_crash_while_loading(postgres, settings))
            status, out, err = rebuild(settings, "--json")
            assert status == 0, f"{out}\n{err}"
            with psycopg.connect(url, autocommit=True) as observer:
                assert one(observer, "SELECT count(*) FROM jobtrail_control.rebuilds") == 1
                _wait_for_everything(topic, observer, aggregator)
            assert aggregator.stop() == 0


def _crash_while_loading(postgres: PostgresServer, settings: dict[str, str]) -> int:
    """Crash Postgres during loading; return how many jobs the rebuilt tables lost."""
    rebuilt = "SELECT count(*) FROM jobtrail_rebuild.jobs"
    with Director() as director:
        trap = director.trap("loading", nth=4)
        running = start({**settings, **director.environment})
        held = trap.wait(SECONDS)
        assert held is not None, "it never loaded four batches"
        with psycopg.connect(postgres.url(), autocommit=True) as observer:
            wait_until(lambda: one(observer, rebuilt) > 0, "rows in the rebuilt tables")
            loaded = one(observer, rebuilt)
        postgres.kill()
        held.kill()
        running.kill()
        postgres.start()
        running.communicate()  # returns when the other loading process has seen that its parent is gone
    with psycopg.connect(postgres.url(), autocommit=True) as observer:
        return int(loaded - one(observer, rebuilt))


def test_history_that_the_topic_lacks_is_kept_unless_allowed(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """Old rows stop the rebuild before it begins; newer rows that only the tables have stop it before the swap."""
    settings = environment(topic, database_url)
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests") as live:
        prepare_session(live)
        write_batch(live, fold(events("long ago", occurred_at=NOW_US - 30 * DAY_US)))
        live.commit()
        publish(
            topic.pulsar_url,
            topic.topic,
            messages(200, start_us=time.time_ns() // 1000 - 10_000_000),
        )
        status, out, _ = rebuild(settings, "--check")
        assert status == 1
        assert "1 attempts, 1 jobs and 0 dead letters are older" in out
        status, _, err = rebuild(settings)
        assert status == 2
        since = err.split("--from ")[1].split("`")[0]
        assert live.execute("SELECT to_regnamespace('jobtrail_rebuild')").fetchone() == (None,)
        live.commit()

        # The swap finds what the preflight cannot see.
        soon = int(time.time()) * 1_000_000 + 2 * 3600 * 1_000_000
        write_batch(live, fold(events("only here", occurred_at=soon)))
        status, _, err = rebuild(settings, "--from", since)
        assert status == 2
        assert "the live tables have 1 ends of attempts that the topic does not have" in err
        assert live.execute("SELECT count(*) FROM jobtrail.jobs").fetchone() == (2,)
        live.commit()
        status, out, err = rebuild(settings, "--from", since, "--accept-loss")
        assert status == 1, err
        assert "unexplained in attempts: namespace cinegraph-test, job_id only here" in out, out
        assert live.execute("SELECT count(*) FROM jobtrail_old.jobs").fetchone() == (2,)
        assert live.execute("SELECT count(*) FROM jobtrail.jobs").fetchone() == (200,)
        live.commit()

        # The kept old tables do not prevent the next rebuild.
        status, out, _ = rebuild(settings, "--check")
        assert status == 0, out
        assert "an earlier rebuild kept the tables it replaced (schema jobtrail_old): they are dropped" in out
        status, out, err = rebuild(settings, "--keep-old")
        assert status == 0, err
        assert "dropping_kept_tables" in err
        assert live.execute("SELECT count(*) FROM jobtrail_old.jobs").fetchone() == (200,)
        live.commit()
        assert rebuild(settings, "--drop-old")[:2] == (0, "dropped the old tables.\n")
        assert live.execute("SELECT to_regnamespace('jobtrail_old')").fetchone() == (None,)


def test_a_rebuild_has_the_runs_that_retention_kept_and_no_others(
    topic: ProvisionSettings, database_url: str
) -> None:
    """The topic still has all events, also those of removed runs, but the rebuilt tables equal the live ones, row by row."""

    def events_of(job: str, days: int, state: str, **fields: Any) -> list[dict[str, Any]]:
        return [{**EVENT, "job_id": job, "occurred_at": NOW_US - days * DAY_US, "state": state, **fields}]

    place = {"root_job_id": "living", "depth": 1, "parent_job_id": "living"}
    gone = {"root_job_id": "gone", "depth": 1, "parent_job_id": "gone"}
    history = [
        *events_of("living", 200, "executing", root_job_id="living", depth=0),
        *(
            one
            for child in range(30)
            for one in events_of(f"child-{child}", 190 - child, "discarded", **place)
        ),
        *events_of("child-30", 2, "completed", **place),
        *(one for child in range(30) for one in events_of(f"gone-{child}", 150 - child, "completed", **gone)),
        *events_of("scheduled", 300, "scheduled", scheduled_at=NOW_US + 300 * DAY_US),
        *events_of("forgotten", 900, "executing"),
        *events_of("unplaced", 300, "completed", parent_job_id="child-3"),
        *events_of("both sides", 200, "available", enqueued_at=NOW_US - 201 * DAY_US),
        *events_of("both sides", 1, "completed"),
        *events_of("new", 1, "discarded"),
    ]
    decode = decoder(SCHEMA_TEXT)
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests") as live:
        prepare_session(live)
        write_batch(live, fold([decode(encode(event)) for event in history]))
        live.autocommit = True
        assert retain(live, 90, 400).rows.jobs == 31
        before = read_tables(live)
        assert len(before["jobs"]) == 36
        messages_of_it = [Message(event["job_id"], encode(event)) for event in history]
        publish(topic.pulsar_url, topic.topic, messages_of_it)
        status, out, err = rebuild(environment(topic, database_url), "--json")
        assert status == 0, f"{out}\n{err}"
        assert difference(before, read_tables(live)) == []
        report = json.loads(out)
        assert report["unexplained"] == 0
        assert [(table["table"], table["more"], table["given_up"]) for table in report["tables"]] == [
            (table["table"], 0, 0) for table in report["tables"]
        ]
        # The next retention has nothing to do, and redelivery changes nothing.
        assert retain(live, 90, 400).rows.jobs == 0
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests", autocommit=True) as live:
        assert list(verify(live)) == []


def test_rebuilds_run_one_at_a_time_and_can_be_restarted_and_abandoned(
    topic: ProvisionSettings, database_url: str
) -> None:
    """A second rebuild is refused while the first runs; --restart begins again, --abandon leaves nothing."""
    settings = environment(topic, database_url)
    publish(topic.pulsar_url, topic.topic, messages(300, start_us=time.time_ns() // 1000))
    with Director() as director, psycopg.connect(database_url, autocommit=True) as observer:
        trap = director.trap("loaded")
        first = start({**settings, **director.environment})
        held = trap.wait(SECONDS)
        assert held is not None
        status, _, err = rebuild(settings)
        assert status == 2
        assert "one at a time" in err
        first.kill()
        first.communicate()
        held.kill()
        trap = director.trap("indexed")
        again = start({**settings, **director.environment}, "--restart")
        held = trap.wait(SECONDS)
        assert held is not None
        assert observer.execute(
            "SELECT array_agg(state ORDER BY id) FROM jobtrail_control.rebuilds"
        ).fetchone() == (["abandoned", "following"],)
        again.kill()
        again.communicate()
        held.kill()
        assert rebuild(settings, "--abandon")[:2] == (0, "abandoned the rebuild and dropped its tables.\n")
        assert one(observer, "SELECT to_regnamespace('jobtrail_rebuild')::text") is None
        assert rebuild(settings, "--abandon")[1] == "no rebuild is under way.\n"


def _wait_for_everything(
    topic: ProvisionSettings, observer: psycopg.Connection[Any], running: Service
) -> None:
    """Wait until the tables equal the oracle's for all events of the topic."""
    stored = read_topic(topic.pulsar_url, topic.topic, PARTITIONS)
    found = judge(stored, [], observer)
    end = time.monotonic() + 60
    while not found.holds and time.monotonic() < end:
        time.sleep(0.5)
        found = judge(stored, [], observer)
    assert found.holds, "\n".join([*found.differences[:20], running.end_of_log()])
