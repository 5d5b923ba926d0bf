"""`jobtrail provision` on a real broker: everything exists before the first event, and --check shows what differs."""

import json
from collections.abc import Iterator

import httpx
import pulsar as pulsar_client
import pytest

from broker.client import connect, subscribe
from broker.provision import Difference, run
from broker.receive import receive_batch
from broker.registry import WriterSchemas
from schemas.contract import SCHEMA
from schemas.errors import BrokerError
from servers.ports import free_ports
from servers.pulsar import Pulsar
from settings.provision import ProvisionSettings
from testing.topics import EVENT, avro, own_topic, publish


@pytest.fixture
def settings(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new topic, not provisioned."""
    return own_topic(pulsar)


@pytest.fixture
def rest(pulsar: Pulsar) -> Iterator[httpx.Client]:
    """Yield a client of the admin REST that does not use the code under test."""
    with httpx.Client(base_url=f"{pulsar.admin_url}/admin/v2") as http:
        yield http


def namespace_of(settings: ProvisionSettings) -> str:
    return "/".join(settings.topic.removeprefix("persistent://").split("/")[:2])


def path_of(settings: ProvisionSettings) -> str:
    return settings.topic.removeprefix("persistent://")


def with_partitions(settings: ProvisionSettings, count: int) -> ProvisionSettings:
    return settings.model_copy(update={"provision_partitions": count})


def test_check_names_everything_that_is_missing_and_creates_nothing(
    settings: ProvisionSettings, rest: httpx.Client
) -> None:
    """The broker has nothing of ours yet."""
    found = run(settings, check=True)
    named = " · ".join(it.what for it in found)
    for what in (
        "tenant",
        "Pulsar namespace",
        "retention",
        "messageTTL",
        "schemaValidationEnforced",
        "schema 0001.avsc",
    ):
        assert what in named
    assert Difference("subscription aggregator", "on every partition", "nothing") in found
    assert rest.get(f"/tenants/{namespace_of(settings).split('/')[0]}").status_code == httpx.codes.NOT_FOUND


def test_provision_twice_changes_nothing_the_second_time(settings: ProvisionSettings) -> None:
    """The first run lists what it did; after it, nothing differs."""
    assert run(settings, check=False)
    assert run(settings, check=True) == []
    assert run(settings, check=False) == []


def test_every_setting_can_be_read_back_from_the_broker(
    settings: ProvisionSettings, rest: httpx.Client
) -> None:
    """Every setting has the specified value when it is read from the broker."""
    run(settings, check=False)
    policies = rest.get(f"/namespaces/{namespace_of(settings)}").json()
    assert policies["retention_policies"] == {"retentionTimeInMinutes": -1, "retentionSizeInMB": -1}
    assert policies["message_ttl_in_seconds"] == 0
    assert policies["compaction_threshold"] == 0
    assert policies["subscription_expiration_time_minutes"] == 0
    assert policies["deduplicationEnabled"] is False
    assert policies["schema_compatibility_strategy"] == "FULL_TRANSITIVE"
    assert policies["schema_validation_enforced"] is True
    assert policies["max_unacked_messages_per_consumer"] == 50_000
    assert policies["max_unacked_messages_per_subscription"] == 200_000
    assert policies["autoTopicCreationOverride"]["allowAutoTopicCreation"] is False
    assert policies["inactive_topic_policies"]["deleteWhileInactive"] is False
    assert rest.get(f"/persistent/{path_of(settings)}/partitions").json()["partitions"] == 2
    assert sorted(rest.get(f"/persistent/{path_of(settings)}/subscriptions").json()) == [
        "aggregator",
        "metrics",
    ]
    (stored,) = rest.get(f"/schemas/{path_of(settings)}/schemas").json()["getSchemaResponses"]
    assert (stored["version"], stored["type"], json.loads(stored["data"])) == (0, "AVRO", SCHEMA)


def test_settings_are_applied_and_a_changed_setting_is_a_difference(settings: ProvisionSettings) -> None:
    """When the operator changes a setting, the next run applies it to the broker."""
    run(settings, check=False)
    other = settings.model_copy(
        update={
            "provision_retention_days": 30,
            "provision_max_unacked_per_consumer": 10_000,
            "provision_schema_auto_update": False,
            "provision_subscriptions": ("aggregator", "metrics", "another"),
        }
    )
    assert [it.what for it in run(other, check=False)] == [
        "retention",
        "isAllowAutoUpdateSchema",
        "maxUnackedMessagesPerConsumer",
        "subscription another",
    ]
    assert run(other, check=True) == []


def test_manual_changes_are_named_and_undone(settings: ProvisionSettings, rest: httpx.Client) -> None:
    """A time to live would acknowledge events that no consumer has seen; a deleted subscription would miss them."""
    run(settings, check=False)
    rest.post(f"/namespaces/{namespace_of(settings)}/messageTTL", json=3600).raise_for_status()
    rest.delete(f"/persistent/{path_of(settings)}-partition-1/subscription/metrics").raise_for_status()
    expected = [
        Difference("messageTTL", "0", "3600"),
        Difference("subscription metrics", "on every partition", "missing on partitions [1]"),
    ]
    assert run(settings, check=True) == expected
    assert str(expected[0]) == "messageTTL: expected 0, got 3600"
    assert run(settings, check=False) == expected
    assert run(settings, check=True) == []


def test_partitions_grow_with_their_subscriptions_and_never_shrink(
    settings: ProvisionSettings, rest: httpx.Client
) -> None:
    """More partitions than the setting are not a difference."""
    run(with_partitions(settings, 2), check=False)
    assert run(with_partitions(settings, 3), check=False) == [
        Difference(f"partitions of {settings.topic}", "3", "2")
    ]
    assert "aggregator" in rest.get(f"/persistent/{path_of(settings)}-partition-2/subscriptions").json()
    assert run(with_partitions(settings, 1), check=False) == []
    assert rest.get(f"/persistent/{path_of(settings)}/partitions").json()["partitions"] == 3


def test_both_subscriptions_hold_what_is_published_before_any_consumer_connects(
    settings: ProvisionSettings,
) -> None:
    """Nothing depends on whether publishers or consumers start first."""
    run(settings, check=False)
    client = connect(settings)
    events = [{**EVENT, "job_id": str(i)} for i in range(20)]
    publish(client, settings.topic, *events)
    for name in settings.provision_subscriptions:
        consumer = subscribe(
            client,
            settings,
            name,
            batch_messages=20,
            batch_bytes=-1,
            batch_wait_seconds=30,
            receiver_queue=1_000,
        )
        schemas = WriterSchemas(client, settings)
        got = {schemas.decode(message).job_id for message in receive_batch(consumer, settings)}
        assert got == {event["job_id"] for event in events}
    client.close()


def test_the_first_producer_already_needs_the_schema(settings: ProvisionSettings) -> None:
    """Provisioning registers the schema, not the first producer; and a misspelt topic is not created."""
    run(settings, check=False)
    client = connect(settings)
    other = {"type": "record", "name": "JobEvent", "fields": [{"name": "job_id", "type": "long"}]}
    with pytest.raises(pulsar_client.IncompatibleSchema):
        client.create_producer(settings.topic, schema=avro(other))
    with pytest.raises(pulsar_client.IncompatibleSchema):
        client.create_producer(settings.topic)
    with pytest.raises(pulsar_client.TopicNotFound):
        client.create_producer(settings.topic + "-misspelt", schema=avro())
    client.close()


def test_without_auto_update_only_released_schemas_are_accepted(pulsar: Pulsar) -> None:
    """An operator may choose this: then an unreleased schema is refused even if compatible; changed documentation is accepted."""
    settings = own_topic(pulsar, provision_schema_auto_update=False)
    run(settings, check=False)
    client = connect(settings)
    client.create_producer(settings.topic, schema=avro({**SCHEMA, "doc": "other words"}))
    more = [*SCHEMA["fields"], {"name": "host", "type": "string", "default": ""}]
    with pytest.raises(pulsar_client.IncompatibleSchema):
        client.create_producer(settings.topic, schema=avro({**SCHEMA, "fields": more}))
    client.close()


def test_a_topic_without_partitions_is_refused_with_the_cure(pulsar: Pulsar, rest: httpx.Client) -> None:
    """The broker cannot add partitions to a topic that was created without."""
    settings = own_topic(pulsar)
    run(settings, check=False)
    single = settings.model_copy(update={"topic": f"{settings.topic}-single"})
    rest.put(f"/persistent/{path_of(single)}").raise_for_status()
    assert Difference(f"partitions of {single.topic}", "2", "a topic without partitions") in run(
        single, check=True
    )
    with pytest.raises(BrokerError, match="Set JOBTRAIL_TOPIC to a new name"):
        run(single, check=False)


def test_a_broker_without_admin_rest_is_recognised(pulsar: Pulsar) -> None:
    """pulsar-lite is such a broker."""
    nowhere = f"http://127.0.0.1:{free_ports(1)[0]}"
    with pytest.raises(BrokerError, match="JOBTRAIL_PULSAR_ADMIN_URL"):
        run(own_topic(pulsar, pulsar_admin_url=nowhere), check=True)
    with pytest.raises(BrokerError, match="JOBTRAIL_SCHEMA_REGISTRY is `bundled`"):
        run(own_topic(pulsar, schema_registry="bundled"), check=True)


def test_a_refusal_by_the_broker_is_quoted(pulsar: Pulsar) -> None:
    """The error also shows the request and its URL."""
    settings = own_topic(pulsar, topic="persistent://bad tenant/lifecycle/job-events")
    with pytest.raises(BrokerError) as raised:
        run(settings, check=False)
    assert str(raised.value) == (
        f"the broker refused GET {pulsar.admin_url}/admin/v2/namespaces/bad%20tenant/lifecycle: "
        "Namespace name is not valid (412)"
    )
