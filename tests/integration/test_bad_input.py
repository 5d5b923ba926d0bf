"""Whatever is published, the aggregator stores it or keeps it with a reason, and stores the good events around it."""

import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from broker import provision
from broker.client import connect
from schemas.contract import EVENT_BYTES
from servers.pulsar import Pulsar
from settings.provision import ProvisionSettings
from testing.services import Service, service, wait_until
from testing.topics import encode, own_topic, publish, service_settings
from tests.integration.bad_input import BAD, GROWN, between, event, good, in_chunks
from tests.integration.raw_producer import LZ4, RawMessage, RawProducer


@pytest.fixture
def topic(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new, provisioned topic with one partition, so that no message overtakes a bad one."""
    settings = own_topic(pulsar, provision_partitions=1)
    provision.run(settings, check=False)
    return settings


def send(topic: ProvisionSettings, messages: list[RawMessage]) -> None:
    """Send them unchanged, in this order, to the only partition."""
    with RawProducer(topic.pulsar_url, f"{topic.topic}-partition-0") as producer:
        producer.send(messages)


def rows(database_url: str, query: str) -> list[Any]:
    with psycopg.connect(database_url, options="-c search_path=jobtrail") as connection:
        return connection.execute(query).fetchall()


def good_ones(database_url: str) -> int:
    ((count,),) = rows(database_url, "SELECT count(*) FROM jobs WHERE job_id LIKE 'good-%'")
    return int(count)


def wait_acknowledged(topic: ProvisionSettings, running: Service) -> None:
    """Wait until the subscription is empty: each message was committed, and then acknowledged."""
    path = topic.topic.removeprefix("persistent://")

    def backlog() -> int:
        url = f"{topic.pulsar_admin_url}/admin/v2/persistent/{path}-partition-0/stats"
        return int(httpx.get(url).json()["subscriptions"]["aggregator"]["msgBacklog"])

    wait_until(lambda: backlog() == 0, "a backlog of 0", running.end_of_log)


def test_each_bad_message_is_kept_with_its_reason_and_good_events_around_it_are_counted(
    topic: ProvisionSettings, database_url_each: str, tmp_path: Path
) -> None:
    """All bad messages are in one topic, between good events. Each is stored where it belongs, byte for byte, and acknowledged."""
    messages = between([bad.message for bad in BAD], 0)
    expected = Counter(bad.reason for bad in BAD if bad.reason)
    taken = len(BAD) - expected.total()
    send(topic, messages)
    with service("aggregate", service_settings(topic, database_url_each), tmp_path / "log") as running:
        wait_acknowledged(topic, running)
        assert running.stop() == 0
    assert good_ones(database_url_each) == len(BAD) + 1
    found = rows(database_url_each, "SELECT reason, payload FROM dead_letters")
    assert Counter(reason for reason, _ in found) == expected
    kept = Counter(bytes(payload) for reason, payload in found if reason != "too_large")
    assert kept == Counter(bad.message.payload for bad in BAD if bad.reason not in (None, "too_large"))
    assert all(len(payload) <= EVENT_BYTES for _, payload in found)
    ((ends,),) = rows(database_url_each, "SELECT sum(completed + discarded) FROM outcomes_hourly")
    assert ends == len(BAD) + 1 + taken


def test_a_message_in_chunks_is_put_together(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """Only while one consumer lives: chunks that are redelivered to another consumer may stay incomplete."""
    messages = [piece for pieces, _ in in_chunks() for piece in pieces]
    send(topic, [good(0), *messages, good(1)])
    settings = service_settings(topic, database_url) | {
        "JOBTRAIL_AGGREGATOR_RECEIVER_QUEUE_BYTES": str(16 << 30)
    }
    with service("aggregate", settings, tmp_path / "log") as running:
        wait_acknowledged(topic, running)
        assert running.stop() == 0
    reasons = [reason for _, reason in in_chunks()]
    found = [reason for (reason,) in rows(database_url, "SELECT reason FROM dead_letters")]
    assert found == [reason for reason in reasons if reason]
    assert rows(database_url, "SELECT count(*) FROM jobs") == [(2 + reasons.count(None),)]


def test_messages_of_other_schemas_and_of_deleted_schemas_become_dead_letters(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """There is a state of a newer release, another record, and a schema that was deleted after the message was published."""
    client = connect(topic)
    publish(client, topic.topic, event("paused", state="paused"), event("good-0"), schema=GROWN)
    client.close()
    with service("aggregate", service_settings(topic, database_url), tmp_path / "log") as running:
        wait_acknowledged(topic, running)
        assert running.stop() == 0
    assert rows(database_url, "SELECT reason FROM dead_letters") == [("unknown_state",)]
    path = topic.topic.removeprefix("persistent://")
    deleted = httpx.delete(f"{topic.pulsar_admin_url}/admin/v2/schemas/{path}/schema?force=true")
    deleted.raise_for_status()
    send(topic, [good(1), good(2)])
    registered = {
        "type": "AVRO",
        "schema": '{"type": "record", "name": "Other", "fields": []}',
        "properties": {},
    }
    httpx.delete(f"{topic.pulsar_admin_url}/admin/v2/schemas/{path}/schema?force=true").raise_for_status()
    httpx.post(f"{topic.pulsar_admin_url}/admin/v2/schemas/{path}/schema", json=registered).raise_for_status()
    with service("aggregate", service_settings(topic, database_url), tmp_path / "log") as running:
        wait_acknowledged(topic, running)
    found = Counter(reason for (reason,) in rows(database_url, "SELECT reason FROM dead_letters"))
    assert found["unknown_state"] == 1
    assert found["unknown_schema"] + found["foreign_schema"] == 2
    assert good_ones(database_url) == 1


def test_a_message_that_pulsars_client_discards_holds_nothing_up(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """It never reaches us, so it cannot become a dead letter: the library acknowledges and logs it."""
    garbage = RawMessage(b"?" * 40, compression=LZ4, uncompressed_size=99)
    send(topic, between([garbage] * 3, 0))
    with service("aggregate", service_settings(topic, database_url), tmp_path / "log") as running:
        wait_acknowledged(topic, running)
        assert "Discarding corrupted message" in running.log.read_text()
    assert good_ones(database_url) == 4
    assert rows(database_url, "SELECT FROM dead_letters") == []


def test_a_thousand_schema_versions_that_do_not_exist_are_not_looked_up_one_by_one(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """A publisher can write any version into a message; those that no broker gives are refused without a look-up."""
    wrong = [
        RawMessage(encode(event("w")), schema_version=(10**6 + number).to_bytes(8, "big"))
        for number in range(1_000)
    ]
    send(topic, between(wrong, 0))
    started = time.monotonic()
    with service("aggregate", service_settings(topic, database_url), tmp_path / "log") as running:
        wait_until(lambda: good_ones(database_url) == 1_001, "the good events", running.end_of_log)
        wait_acknowledged(topic, running)
    print(f"1,001 good and 1,000 bad messages after {time.monotonic() - started:.1f} s")
    assert rows(database_url, "SELECT count(*) FROM dead_letters WHERE reason = 'unknown_schema'") == [
        (1_000,)
    ]


def test_fewer_large_messages_are_fetched_ahead(
    topic: ProvisionSettings, database_url: str, tmp_path: Path
) -> None:
    """The library counts messages, not bytes. Subscribing again for this loses nothing and counts nothing twice."""
    large = [RawMessage(encode(event(f"good-{number}", args="x" * 100_000))) for number in range(300)]
    send(topic, [*large, *(good(number) for number in range(300, 600))])
    settings = service_settings(topic, database_url) | {
        "JOBTRAIL_AGGREGATOR_RECEIVER_QUEUE_BYTES": str(4 * 1024 * 1024),
        "JOBTRAIL_AGGREGATOR_BATCH_BYTES": str(1024 * 1024),
    }
    with service("aggregate", settings, tmp_path / "log") as running:
        wait_until(lambda: good_ones(database_url) == 600, "every event", running.end_of_log)
        wait_acknowledged(topic, running)
        assert running.log.read_text().count("receiver_queue_resized") == 1
    assert rows(database_url, "SELECT sum(completed) FROM outcomes_hourly") == [(600,)]
