"""A topic of several partitions, on the real broker: all events arrive, and only events that arrived count as sent."""

import itertools
import urllib.request
from collections.abc import Iterator

import pytest
from pulsar import PulsarException

import jobtrail
from jobtrail import _runtime
from jobtrail._broker import connect
from jobtrail._encode import encode
from servers.pulsar import Pulsar
from workers.tests.conftest import fresh, new_topic
from workers.tests.reading import Topic

PARTITIONS = 3
EVENT = {
    "namespace": "tests",
    "worker": "PageJob",
    "queue": "",
    "state": "completed",
    "attempt": 1,
    "occurred_at": 1,
}
JOBS = [f"job-{number}" for number in range(300)]


@pytest.fixture
def parts(pulsar: Pulsar) -> Iterator[list[Topic]]:
    """Set up the SDK for a topic of three partitions, and return each partition as a topic to read."""
    name = new_topic()
    ask(pulsar, "PUT", name, "/partitions", b"%d" % PARTITIONS)
    fresh()
    jobtrail.configure(namespace="tests", pulsar_url=pulsar.url, topic=name, linger_seconds=0)
    yield [Topic(pulsar.url, f"{name}-partition-{number}") for number in range(PARTITIONS)]
    jobtrail.shutdown(0)
    fresh()


def ask(pulsar: Pulsar, method: str, topic: str, what: str, body: bytes | None = None) -> None:
    """Send a request about a topic to the admin REST API; raises when it is refused."""
    path = topic.replace("persistent://", "persistent/")
    request = urllib.request.Request(
        f"{pulsar.admin_url}/admin/v2/{path}{what}",
        data=body,
        method=method,
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30):
        pass


def test_all_events_arrive_and_those_of_a_job_share_a_partition(parts: list[Topic]) -> None:
    for job_id in JOBS:
        with jobtrail.job("PageJob", job_id=job_id):
            pass
    assert jobtrail.flush(30)
    found = [[event["job_id"] for event in part.read(flush=False)] for part in parts]
    assert all(found), "a partition got nothing"
    # Both events of each job are in the same partition, in order.
    assert sorted(itertools.chain(*found)) == sorted(2 * JOBS)
    assert sum(len(set(jobs)) for jobs in found) == len(JOBS)


def test_event_that_one_partition_refuses_never_counts_as_sent(parts: list[Topic], pulsar: Pulsar) -> None:
    """Pulsar's client reports a flush by the partition that finishes last, and the broken one finishes first."""
    connection = connect(_runtime.config())
    messages = [encode({**EVENT, "job_id": job_id}) for job_id in JOBS]
    connection.publish(messages)
    ask(pulsar, "POST", parts[1].name, "/terminate", b"")
    for _ in range(3):
        with pytest.raises(PulsarException):
            connection.publish(messages)
    connection.abandon()
