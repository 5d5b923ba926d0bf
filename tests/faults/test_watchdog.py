"""Both consumers end themselves if the broker delivers none of the waiting messages, and for no other reason."""

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pulsar as pulsar_client
import pytest

from broker import provision
from broker.admin import admin
from servers.pulsar import Pulsar
from settings.provision import ProvisionSettings
from testing.publish import EncodedEvents
from testing.services import Service, service, wait_until
from testing.topics import EVENT, encode, own_topic, service_settings
from tests.faults.network import TO_SERVICE, pulsar_path

LIMIT_SECONDS = 2.0
QUIET = pulsar_client.ConsoleLogger(pulsar_client.LoggerLevel.Error)
CONSUMERS = {"aggregate": "aggregator", "metrics": "metrics"}

both = pytest.mark.parametrize("command", CONSUMERS)


@pytest.fixture
def topic(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new, provisioned topic."""
    settings = own_topic(pulsar)
    provision.run(settings, check=False)
    return settings


def environment(topic: ProvisionSettings, database_url: str, url: str | None = None) -> dict[str, str]:
    return {
        **service_settings(topic, database_url),
        "JOBTRAIL_PULSAR_URL": url or topic.pulsar_url,
        "JOBTRAIL_WATCHDOG_SECONDS": str(LIMIT_SECONDS),
        "JOBTRAIL_LOG_FORMAT": "json",
    }


@pytest.fixture
def client(pulsar: Pulsar) -> Iterator[pulsar_client.Client]:
    """Yield Pulsar's own client, for actions that no consumer of ours takes."""
    client = pulsar_client.Client(pulsar.url, logger=QUIET)
    yield client
    client.close()


def send(client: pulsar_client.Client, topic: ProvisionSettings, count: int, **how: object) -> None:
    """Publish ``count`` events, each an entry of its own, and return when the broker has them."""
    producer = client.create_producer(topic.topic, schema=EncodedEvents(), batching_enabled=False)
    for number in range(count):
        producer.send(encode({**EVENT, "job_id": f"{time.time_ns()}"}), partition_key=str(number), **how)
    producer.close()


def ends_with_one(running: Service) -> str:
    """Wait for its end; return its last message."""
    wait_until(lambda: running.process.poll() is not None, "it to end itself", running.end_of_log, 60)
    assert running.process.returncode == 1, running.end_of_log()
    (message,) = [line for line in running.end_of_log().splitlines() if "delivery_stopped" in line]
    assert "exits with status 1" in message
    return message


def received(running: Service) -> float:
    """Return how many messages it has processed."""
    return sum(
        float(line.rsplit(" ", 1)[1])
        for line in running.get("/metrics")[1].splitlines()
        if line.startswith(("jobtrail_aggregator_events_total", "jobtrail_metrics_messages_total"))
    )


@both
def test_a_consumer_ends_when_frames_never_arrive(
    command: str,
    topic: ProvisionSettings,
    client: pulsar_client.Client,
    database_url: str,
    tmp_path: Path,
) -> None:
    """The connection is open and the broker believes that it delivers, but nothing arrives."""
    with pulsar_path(topic.pulsar_url) as path:
        settings = environment(topic, database_url, f"pulsar://127.0.0.1:{path.port}")
        with service(command, settings, tmp_path / "log") as running:
            send(client, topic, 10)
            wait_until(lambda: received(running) == 10, "the first events", running.end_of_log)
            path.stall(TO_SERVICE)
            send(client, topic, 10)
            began = time.monotonic()
            assert "believes that this process holds" in ends_with_one(running)
            assert time.monotonic() - began < 30, "it took too long to end"


@both
def test_a_consumer_ends_when_the_broker_has_forgotten_it(
    command: str,
    topic: ProvisionSettings,
    client: pulsar_client.Client,
    database_url: str,
    tmp_path: Path,
) -> None:
    """The topic moved, but the client did not learn of it, and believes that it is subscribed."""
    with pulsar_path(topic.pulsar_url) as path:
        settings = environment(topic, database_url, f"pulsar://127.0.0.1:{path.port}")
        with service(command, settings, tmp_path / "log") as running:
            path.stall(TO_SERVICE)
            with admin(topic) as broker:
                broker.put(f"/{topic.topic.replace('://', '/')}/unload", None)
            send(client, topic, 10)
            assert "does not know of this consumer" in ends_with_one(running)


def test_a_consumer_ends_when_the_broker_holds_delivery_back(
    topic: ProvisionSettings, client: pulsar_client.Client, database_url: str, tmp_path: Path
) -> None:
    """A policy allows one message per day."""
    with admin(topic) as broker:
        namespace = topic.topic.replace("persistent://", "").rsplit("/", 1)[0]
        broker.post(
            f"/namespaces/{namespace}/subscriptionDispatchRate",
            {"dispatchThrottlingRateInMsg": 1, "ratePeriodInSecond": 86_400},
        )
    with service("aggregate", environment(topic, database_url), tmp_path / "log") as running:
        send(client, topic, 20)
        assert "none is delivered although this consumer asked for" in ends_with_one(running)


@both
def test_messages_of_other_consumers_and_delayed_messages_are_no_reason_to_end(
    command: str,
    topic: ProvisionSettings,
    client: pulsar_client.Client,
    database_url: str,
    tmp_path: Path,
) -> None:
    """There is a backlog, but nothing for this consumer; when the other replica leaves, its messages come here."""
    other = client.subscribe(
        topic.topic,
        CONSUMERS[command],
        consumer_type=pulsar_client.ConsumerType.Shared,
        initial_position=pulsar_client.InitialPosition.Earliest,
    )
    send(client, topic, 10)
    for _ in range(10):
        other.receive(10_000)
    with service(command, environment(topic, database_url), tmp_path / "log") as running:
        send(client, topic, 2, deliver_after=timedelta(hours=1))
        time.sleep(3 * LIMIT_SECONDS)
        assert running.process.poll() is None, running.end_of_log()
        assert received(running) == 0
        other.close()
        wait_until(lambda: received(running) == 10, "the messages of the other one", running.end_of_log)
        time.sleep(2 * LIMIT_SECONDS)
        assert running.process.poll() is None, running.end_of_log()
        assert "watchdog" not in running.log.read_text()
        assert running.stop() == 0
