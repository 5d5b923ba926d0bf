"""The metrics consumer as a process, with a real broker: what Prometheus reads equals what was published."""

import json
import random
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pulsar as pulsar_client
import pytest
from prometheus_client.parser import text_string_to_metric_families

from broker import provision
from broker.admin import admin
from servers.pulsar import Pulsar, own_pulsar
from servers.pulsar_lite import PulsarLiteServer
from settings.provision import ProvisionSettings
from testing.publish import EncodedEvents, publish
from testing.services import Service, service, wait_until
from testing.topics import EVENT, encode, own_topic
from testing.workload import Message

US = 1_000_000
HALF_AN_HOUR = 1_800
AWAY = "broker: away\nservice: starting\n"
QUIET = pulsar_client.ConsoleLogger(pulsar_client.LoggerLevel.Error)
STATES = ("available", "executing", "completed", "completed", "retryable", "discarded", "cancelled")

Page = Counter[tuple[str, frozenset[tuple[str, str]]]]


def story(count: int, seed: int) -> list[dict[str, Any]]:
    """Return ``count`` events of the last three hours, none near the beginning of a window of 5 min or 1 h."""
    choose = random.Random(seed)
    now_us = time.time_ns() // 1000
    events = []
    for number in range(count):
        state = choose.choice(STATES)
        ago = choose.choice(
            (choose.uniform(2, 30), choose.uniform(500, 2_500), choose.uniform(6_000, 10_000))
        )
        at = now_us - round(ago * US)
        failed = state in ("retryable", "discarded")
        events.append(
            {
                **EVENT,
                "namespace": choose.choice(("cinegraph-test", "shop-test")),
                "job_id": f"job-{seed}-{number}",
                "worker": choose.choice(("MoviePageJob", "MovieDetailJob", "ShowtimeProcessJob")),
                "queue": choose.choice(("scraping", "imports")),
                "source": choose.choice(("kino-krakow", "", 'Kino "Żółw"\\')),
                "state": state,
                "occurred_at": at,
                "started_at": choose.choice((0, at - choose.randrange(1, 400) * US)),
                "error": {"category": choose.choice(("timeout", "movie_not_ready"))} if failed else None,
            }
        )
    return events


def messages(events: Iterable[dict[str, Any]]) -> list[Message]:
    return [Message(event["job_id"], encode(event)) for event in events]


def sample(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


def tally(events: Iterable[dict[str, Any]]) -> Page:
    """Return the page that these events must give, counted one by one, with the windows as of now."""
    page: Page = Counter()
    now_us = time.time_ns() // 1000
    for event in events:
        namespace, source, worker, state = (
            event[name] for name in ("namespace", "source", "worker", "state")
        )
        page[sample("jobtrail_events_total", namespace=namespace, state=state)] += 1
        if state in ("available", "executing"):
            continue
        of = {"namespace": namespace, "source": source, "worker": worker}
        page[sample("jobtrail_attempts_total", **of, queue=event["queue"], outcome=state)] += 1
        if event["error"]:
            page[sample("jobtrail_failures_total", **of, category=event["error"]["category"])] += 1
        if event["started_at"]:
            ran = {"namespace": namespace, "worker": worker, "outcome": state}
            seconds = (event["occurred_at"] - event["started_at"]) // US
            page[sample("jobtrail_attempt_duration_seconds_count", **ran)] += 1
            page[sample("jobtrail_attempt_duration_seconds_sum", **ran)] += seconds
        if state == "cancelled":
            continue
        outcome = "succeeded" if state == "completed" else "failed"
        for window, length in (("5m", 300), ("1h", 3_600), ("24h", 86_400)):
            if now_us - event["occurred_at"] < length * US:
                at = {"namespace": namespace, "source": source, "window": window, "outcome": outcome}
                page[sample("jobtrail_window_attempts", **at)] += 1
                if state != "retryable":
                    page[sample("jobtrail_window_jobs", **at)] += 1
    return page


def read(running: Service) -> Page:
    """Return all samples of the service's page."""
    status, text = running.get("/metrics")
    assert status == 200
    page: Page = Counter()
    for family in text_string_to_metric_families(text):
        for one in family.samples:
            page[sample(one.name, **one.labels)] = one.value  # type: ignore[assignment]  # a float
    return page


def about_jobs(page: Page, like: Page) -> Page:
    """Return the samples of the metrics that are in ``like``, without zeros."""
    names = {name for name, _ in like}
    return Counter({key: number for key, number in page.items() if key[0] in names and number})


def total(page: Page, name: str) -> float:
    return sum(number for (has, _), number in page.items() if has == name)


def wait_for_events(count: int, *running: Service) -> None:
    wait_until(
        lambda: sum(total(read(one), "jobtrail_events_total") for one in running) >= count,
        f"{count} events to be counted",
        running[0].end_of_log,
    )


@pytest.fixture
def topic(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new, provisioned topic."""
    settings = own_topic(pulsar)
    provision.run(settings, check=False)
    return settings


def environment(topic: ProvisionSettings, **more: object) -> dict[str, str]:
    return {
        "JOBTRAIL_PULSAR_URL": topic.pulsar_url,
        "JOBTRAIL_TOPIC": topic.topic,
        "JOBTRAIL_LOG_FORMAT": "json",
        "JOBTRAIL_METRICS_RETRY_LONGEST_SECONDS": "0.5",
        **{f"JOBTRAIL_{name.upper()}": str(value) for name, value in more.items()},
    }


def last_log_line(running: Service) -> dict[str, Any]:
    """Return the last log line of a stopped service."""
    words: dict[str, Any] = json.loads(running.end_of_log().splitlines()[-1])
    assert words["event"] == "stopped"
    return words


def backlog(topic: ProvisionSettings) -> int:
    """Return the broker's count of unacknowledged entries of the subscription."""
    path = topic.topic.replace("persistent://", "/persistent/")
    with admin(topic) as broker:
        stats = broker.get(f"{path}/partitioned-stats?getPreciseBacklog=true")
    number: int = stats["subscriptions"]["metrics"]["msgBacklog"]
    return number


def publish_singly(topic: ProvisionSettings, sent: Iterable[Message]) -> None:
    """Publish without the client's batching, so that each message is one entry of the broker's log."""
    client = pulsar_client.Client(topic.pulsar_url, logger=QUIET)
    producer = client.create_producer(
        topic.topic, schema=EncodedEvents(), batching_enabled=False, block_if_queue_full=True
    )
    for message in sent:
        producer.send_async(message.payload, None, partition_key=message.key)
    producer.flush()
    client.close()


def test_what_prometheus_reads_equals_what_was_published(topic: ProvisionSettings, tmp_path: Path) -> None:
    """All series of counters, histograms and windows are equal, and there are no others."""
    events = story(3_000, seed=1)
    publish(topic.pulsar_url, topic.topic, messages(events))
    with service("metrics", environment(topic), tmp_path / "log") as running:
        wait_for_events(len(events), running)
        expected = tally(events)
        assert about_jobs(read(running), expected) == expected
        page = read(running)
        assert total(page, "jobtrail_metrics_broker_up") == 1
        assert 0 < page[sample("jobtrail_window_covered_seconds", window="24h")] < HALF_AN_HOUR
        wait_until(lambda: total(read(running), "jobtrail_metrics_lag_seconds") < 2, "the lag to go")
        assert running.get("/healthz")[0] == 200
        assert running.stop() == 0


def test_replicas_add_up(topic: ProvisionSettings, tmp_path: Path) -> None:
    """Two replicas share the events, and the sum of their pages equals the page of one."""
    small = environment(topic, metrics_receiver_queue=100, metrics_batch_events=50)
    with (
        service("metrics", small, tmp_path / "one") as one,
        service("metrics", small, tmp_path / "two") as two,
    ):
        events = story(4_000, seed=2)
        publish(topic.pulsar_url, topic.topic, messages(events))
        wait_for_events(len(events), one, two)
        expected = tally(events)
        pages = [about_jobs(read(replica), expected) for replica in (one, two)]
        assert all(total(page, "jobtrail_events_total") > 0 for page in pages), "one replica got everything"
        assert pages[0] + pages[1] == expected


def test_invalid_messages_are_counted_by_reason_and_hold_nothing_up(
    topic: ProvisionSettings, tmp_path: Path
) -> None:
    events = story(100, seed=3)
    good = messages(events)
    bad = [
        Message("1", b"\x07 no avro"),
        Message("2", b""),
        Message("3", good[0].payload + b"!"),
        Message("4", encode({**EVENT, "external_id": "movie\0"})),
    ]
    publish(topic.pulsar_url, topic.topic, [*good[:50], *bad, *good[50:]])
    with service("metrics", environment(topic), tmp_path / "log") as running:
        wait_for_events(len(events), running)
        wait_until(lambda: backlog(topic) == 0, "all to be acknowledged")
        page = read(running)
        reasons = {
            dict(labels)["reason"]: number
            for (name, labels), number in page.items()
            if name == "jobtrail_undecodable_events_total"
        }
        assert reasons == {"malformed": 2, "trailing_bytes": 1, "nul_in_text": 1}
        assert total(page, "jobtrail_metrics_messages_total") == 104
        assert total(page, "jobtrail_events_total") == 100


def test_a_stop_acknowledges_exactly_what_was_counted(topic: ProvisionSettings, tmp_path: Path) -> None:
    """SIGTERM while events come: status 0, and a second process counts exactly the rest.

    The messages are sent singly: the broker redelivers a whole batch if one message of it was not acknowledged.
    """
    events = story(5_000, seed=4)
    publish_singly(topic, messages(events))
    slow = environment(topic, metrics_batch_events=2)
    with service("metrics", slow, tmp_path / "first") as first:
        wait_for_events(1, first)
        assert first.stop() == 0
        counted = last_log_line(first)["events"]
    assert 0 < counted < len(events), "the stop came too late to show anything"
    with service("metrics", environment(topic), tmp_path / "second") as second:
        wait_for_events(len(events) - counted, second)
        wait_until(lambda: backlog(topic) == 0, "all to be acknowledged")
        assert second.stop() == 0
        assert last_log_line(second)["events"] == len(events) - counted


def test_after_a_kill_the_next_process_goes_on_after_the_acknowledged_events(
    topic: ProvisionSettings, tmp_path: Path
) -> None:
    """Its counters begin at 0, as Prometheus expects, and its windows are marked as not covered."""
    before, after = story(500, seed=5), story(300, seed=6)
    publish(topic.pulsar_url, topic.topic, messages(before))
    with service("metrics", environment(topic), tmp_path / "killed") as killed:
        wait_for_events(len(before), killed)
        wait_until(lambda: backlog(topic) == 0, "all to be acknowledged")
        killed.kill()
    publish(topic.pulsar_url, topic.topic, messages(after))
    with service("metrics", environment(topic), tmp_path / "next") as following:
        wait_for_events(len(after), following)
        expected = tally(after)
        page = read(following)
        assert about_jobs(page, expected) == expected
        assert page[sample("jobtrail_window_covered_seconds", window="24h")] < HALF_AN_HOUR


def test_the_consumer_waits_for_a_broker_that_is_away_or_not_provisioned(tmp_path: Path) -> None:
    """It is alive but not ready; when the broker is there, no event is missing."""
    first, second = story(200, seed=7), story(200, seed=8)
    with own_pulsar() as broker:
        topic = own_topic(broker)
        running = Service("metrics", environment(topic, pulsar_operation_timeout_seconds=2), tmp_path / "log")
        try:
            wait_until(lambda: running.get("/readyz") == (503, AWAY), "not to be ready", running.end_of_log)
            assert running.get("/healthz")[0] == 200
            provision.run(topic, check=False)
            publish(topic.pulsar_url, topic.topic, messages(first))
            wait_for_events(len(first), running)
            wait_until(lambda: backlog(topic) == 0, "all to be acknowledged")
            broker.kill()
            wait_until(lambda: running.get("/readyz")[0] == 503, "to see the broker go", running.end_of_log)
            assert running.get("/healthz")[0] == 200
            assert total(read(running), "jobtrail_metrics_broker_up") == 0
            broker.start()
            publish(topic.pulsar_url, topic.topic, messages(second))
            wait_for_events(len(first) + len(second), running)
            expected = tally([*first, *second])
            assert about_jobs(read(running), expected) == expected
            running.wait_ready()
            assert running.stop() == 0
        finally:
            running.kill()


def test_the_consumer_works_with_a_broker_without_a_schema_registry(tmp_path: Path) -> None:
    """The demo's broker has none: there, the bundled schema is the writer's. The consumer can be stopped while the broker is away."""
    with PulsarLiteServer(tmp_path) as broker:
        topic = ProvisionSettings.load(pulsar_url=broker.url)
        settings = environment(topic, schema_registry="bundled")
        with service("metrics", settings, tmp_path / "log") as running:
            events = story(500, seed=9)
            publish(topic.pulsar_url, topic.topic, messages(events))
            wait_for_events(len(events), running)
            expected = tally(events)
            assert about_jobs(read(running), expected) == expected
            broker.kill()
            wait_until(lambda: running.get("/readyz")[0] == 503, "to see the broker go", running.end_of_log)
            wait_until(lambda: total(read(running), "jobtrail_metrics_lag_seconds") > 1, "the lag to grow")
            assert running.stop() == 0
