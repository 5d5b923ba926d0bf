"""The aggregator as a process, with a real broker and a real Postgres: what it stores, survives and refuses."""

import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from broker import provision
from servers.postgres import PostgresServer
from servers.pulsar import Pulsar, own_pulsar
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.migrate import migrate
from store.steps import Step
from testing.publish import publish
from testing.services import JOBTRAIL, Service, service, wait_until
from testing.topics import EVENT, encode, own_topic, service_settings
from testing.workload import Message
from tests.faults.director import Director

NOW_US = 1_790_000_000_000_000


def jobs(count: int, first: int = 0, **fields: Any) -> list[bytes]:
    """Return the payloads of ``count`` completed jobs."""
    return [
        encode({**EVENT, "occurred_at": NOW_US + number, "job_id": f"job-{number}", **fields})
        for number in range(first, first + count)
    ]


@pytest.fixture
def topic(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new, provisioned topic."""
    settings = own_topic(pulsar)
    provision.run(settings, check=False)
    return settings


def environment(topic: ProvisionSettings, database_url: str) -> dict[str, str]:
    return {
        **service_settings(topic, database_url),
        "JOBTRAIL_AGGREGATOR_RETRY_LONGEST_SECONDS": "0.5",
    }


def send(topic: ProvisionSettings, payloads: Sequence[bytes]) -> None:
    """Publish by Pulsar's own client; return when the broker has them all."""
    publish(
        topic.pulsar_url, topic.topic, [Message(str(key), payload) for key, payload in enumerate(payloads)]
    )


def count(database_url: str, table: str) -> int:
    with psycopg.connect(database_url) as connection:
        row = connection.execute(f"SELECT count(*) FROM jobtrail.{table}").fetchone()
    assert row is not None
    number: int = row[0]
    return number


def test_a_stop_finishes_the_current_batch_and_nothing_is_stored_twice(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """SIGTERM during the third batch: status 0, and a second process stores exactly the rest."""
    settings = {**environment(topic, database_url), "JOBTRAIL_AGGREGATOR_BATCH_EVENTS": "500"}
    send(topic, jobs(20_000))
    with Director() as director:
        third = director.trap(Step.BEFORE_COMMIT, nth=3)
        with service("aggregate", settings | director.environment, tmp_path / "first.log") as first:
            held = third.wait(60)
            assert held is not None, first.end_of_log()
            first.process.send_signal(signal.SIGTERM)
            held.release()
            assert first.process.wait(60) == 0
    stored = count(database_url, "attempts")
    assert 1_500 <= stored < 20_000, "the current batches were committed, and the rest was left"
    with service("aggregate", settings, tmp_path / "second.log") as second:
        wait_until(lambda: count(database_url, "attempts") == 20_000, "the rest", second.end_of_log)
        assert second.stop() == 0
        assert "stopped" in second.end_of_log()
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT sum(completed) FROM jobtrail.outcomes_hourly").fetchone() == (
            20_000,
        )


def test_bad_messages_become_dead_letters_and_good_ones_around_them_are_stored(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """Each is kept with its reason and its bytes, and counted on the metrics page."""
    good = jobs(50)
    bad = {
        "malformed": b"\x07 no avro",
        "trailing_bytes": good[0] + b"!",
        "nul_in_text": encode({**EVENT, "external_id": "movie\0"}),
        "too_long": encode({**EVENT, "job_id": "x" * 501}),
        "out_of_range": encode({**EVENT, "attempt": 0}),
        "missing_field": encode({**EVENT, "worker": ""}),
    }
    send(topic, [*good[:25], *bad.values(), *good[25:]])
    with service("aggregate", environment(topic, database_url), tmp_path / "log") as running:
        wait_until(
            lambda: count(database_url, "dead_letters") == len(bad), "dead letters", running.end_of_log
        )
        wait_until(lambda: count(database_url, "jobs") == len(good), "good events", running.end_of_log)
        counted = f'jobtrail_aggregator_events_total{{result="dead_letter"}} {float(len(bad))}'
        wait_until(lambda: counted in running.get("/metrics")[1], counted, running.end_of_log)
        page = running.get("/metrics")[1]
        assert 'jobtrail_aggregator_dead_letters_total{reason="nul_in_text"} 1.0' in page
    with psycopg.connect(database_url) as connection:
        kept: dict[str, bytes] = dict(
            connection.execute("SELECT reason, payload FROM jobtrail.dead_letters").fetchall()
        )
    assert {reason: bytes(payload) for reason, payload in kept.items()} == bad


def test_an_id_that_is_used_again_is_counted(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """A job with a fixed id completed, failed twice and runs; the jobs around it have ids of their own."""
    minute = 60_000_000
    states = ("completed", "retryable", "retryable", "executing")
    nightly = [
        encode(
            {
                **EVENT,
                "job_id": "nightly",
                "state": state,
                "occurred_at": NOW_US + 5 * minute * number,
                "error": None,
            }
        )
        for number, state in enumerate(states)
    ]
    counted = "jobtrail_aggregator_repeated_jobs_total"
    with service("aggregate", environment(topic, database_url), tmp_path / "log") as running:
        send(topic, jobs(20))
        wait_until(lambda: count(database_url, "jobs") == 20, "the other jobs", running.end_of_log)
        assert f"{counted} 0.0" in running.get("/metrics")[1]
        send(topic, nightly)
        wait_until(
            lambda: f"{counted} 0.0" not in running.get("/metrics")[1], "the job counted", running.end_of_log
        )
        wait_until(lambda: count(database_url, "attempts") == 23, "every end", running.end_of_log)
    with psycopg.connect(database_url) as connection:
        marked = connection.execute("SELECT job_id, state FROM jobtrail.jobs WHERE is_repeated").fetchall()
    assert marked == [("nightly", "completed")]


def test_an_event_that_postgres_refuses_becomes_a_dead_letter(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """A constraint refuses two of 300 events that the decoder accepted; the other 298 are stored."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "ALTER TABLE jobtrail.jobs ADD CONSTRAINT no_poison CHECK (external_id <> 'poison')"
        )
    poison = [*jobs(1, 1000, external_id="poison"), *jobs(1, 2000, external_id="poison")]
    payloads = jobs(298)
    send(topic, [*payloads[:100], poison[0], *payloads[100:200], poison[1], *payloads[200:]])
    with service("aggregate", environment(topic, database_url), tmp_path / "log") as running:
        wait_until(lambda: count(database_url, "jobs") == 298, "the good events", running.end_of_log)
        wait_until(lambda: count(database_url, "dead_letters") == 2, "the refused ones", running.end_of_log)
    with psycopg.connect(database_url) as connection:
        kept = connection.execute("SELECT reason, detail, payload FROM jobtrail.dead_letters").fetchall()
    assert {reason for reason, _, _ in kept} == {"refused_by_database"}
    assert all("no_poison" in detail for _, detail, _ in kept)
    assert {bytes(payload) for _, _, payload in kept} == set(poison)


def test_the_aggregator_waits_for_a_database_that_goes_away(topic: ProvisionSettings, tmp_path: Path) -> None:
    """Postgres is killed while events come, and started again: the same process is not ready meanwhile, goes on, and loses nothing."""
    with PostgresServer(durable=True) as postgres:
        url = postgres.url()
        with connect(DatabaseSettings.load(database_url=url), "jobtrail tests") as connection:
            migrate(connection)
        with service("aggregate", environment(topic, url), tmp_path / "log") as running:
            send(topic, jobs(3_000))
            wait_until(lambda: count(url, "attempts") > 0, "the first batch", running.end_of_log)
            postgres.kill()
            send(topic, jobs(3_000, 3_000))
            wait_until(lambda: running.get("/readyz")[0] == 503, "not ready", running.end_of_log)
            assert "database" in running.get("/readyz")[1]
            assert running.get("/healthz")[0] == 200
            postgres.start()
            wait_until(lambda: count(url, "attempts") == 6_000, "all events", running.end_of_log)
            wait_until(lambda: running.get("/readyz")[0] == 200, "ready again", running.end_of_log)
            assert running.stop() == 0
            log = running.log.read_text()
            assert log.count("database_back") == 1
            assert 1 <= log.count("database_away") <= 3  # one for each cause: cut off, refused, starting


def test_the_aggregator_waits_for_a_broker_that_goes_away(database_url: str, tmp_path: Path) -> None:
    """The broker is killed, and started again with its data: the same process goes on, loses nothing and counts nothing twice."""
    with own_pulsar() as broker:
        topic = own_topic(broker)
        provision.run(topic, check=False)
        with service("aggregate", environment(topic, database_url), tmp_path / "log") as running:
            send(topic, jobs(2_000))
            wait_until(lambda: count(database_url, "attempts") > 0, "the first batch", running.end_of_log)
            broker.kill()
            wait_until(lambda: running.get("/readyz")[0] == 503, "not ready", running.end_of_log)
            assert "broker" in running.get("/readyz")[1]
            broker.start()
            send(topic, jobs(2_000, 2_000))
            wait_until(lambda: count(database_url, "attempts") == 4_000, "all events", running.end_of_log)
            wait_until(lambda: running.get("/readyz")[0] == 200, "ready again", running.end_of_log)
            assert running.stop() == 0
            log = running.log.read_text()
            assert log.count("broker_back") == 1
            assert 1 <= log.count("broker_away") <= 3  # one for each cause
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT sum(completed) FROM jobtrail.outcomes_hourly").fetchone() == (
            4_000,
        )


def test_the_aggregator_refuses_a_database_that_was_not_migrated(
    topic: ProvisionSettings, empty_database_url: str
) -> None:
    """It ends with 2, and names the command to run on standard error."""
    done = subprocess.run(
        [JOBTRAIL, "aggregate"],
        env={**environment(topic, empty_database_url), "JOBTRAIL_AGGREGATOR_PORT": "0"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "jobtrail migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_two_replicas_share_the_topic(topic: ProvisionSettings, database_url: str, tmp_path: Path) -> None:
    """Both write, and the aggregates are as from one. One is held at its first batch until the other has stored some."""
    settings = {**environment(topic, database_url), "JOBTRAIL_AGGREGATOR_BATCH_EVENTS": "300"}

    def stored(one: Service) -> bool:
        page = one.get("/metrics")[1]
        return 'jobtrail_aggregator_events_total{result="stored"} 0.0' not in page

    with (
        Director() as director,
        service("aggregate", settings | director.environment, tmp_path / "one.log") as one,
        service("aggregate", settings, tmp_path / "two.log") as two,
    ):
        first_batch = director.trap(Step.AFTER_RECEIVE)
        send(topic, jobs(20_000))
        held = first_batch.wait(60)
        assert held is not None, one.end_of_log()
        wait_until(lambda: stored(two), "the other to have stored some", two.end_of_log)
        held.release()
        wait_until(
            lambda: count(database_url, "attempts") == 20_000,
            "all events",
            lambda: f"{one.end_of_log()}\n\n{two.end_of_log()}\n{two.get('/metrics')[1]}",
        )
        wait_until(lambda: stored(one), "the one that was held to have stored its batch", one.end_of_log)
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT sum(completed) FROM jobtrail.outcomes_hourly").fetchone() == (
            20_000,
        )
