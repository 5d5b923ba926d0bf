"""Which schemas the real broker accepts and refuses; and events are read by the schema they were written with."""

import copy
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pulsar as pulsar_client
import pytest
from pulsar.schema import BytesSchema, JsonSchema, Record, String, StringSchema

from broker.client import Client, Consumer, Message, connect, subscribe
from broker.private import schema_version
from broker.provision import run
from broker.receive import receive_batch
from broker.registry import WriterSchemas
from schemas.contract import SCHEMA
from schemas.errors import BrokerError, DecodeError
from schemas.evolution import problems
from servers.ports import free_ports
from servers.pulsar import Pulsar
from settings.broker import BrokerSettings
from settings.provision import ProvisionSettings
from testing.topics import EVENT, avro, encode, own_topic, publish

ROOT = Path(__file__).parents[2]


@pytest.fixture
def settings(pulsar: Pulsar) -> ProvisionSettings:
    """Return a new, provisioned topic."""
    settings = own_topic(pulsar)
    run(settings, check=False)
    return settings


@pytest.fixture
def client(pulsar: Pulsar) -> Iterator[Client]:
    client = connect(BrokerSettings.load(pulsar_url=pulsar.url))
    yield client
    client.close()


def receive(client: Client, settings: BrokerSettings, count: int) -> list[Message]:
    """Return the first messages of the topic, in any order."""
    consumer: Consumer = subscribe(
        client,
        settings,
        "aggregator",
        batch_messages=count,
        batch_bytes=-1,
        batch_wait_seconds=30,
        receiver_queue=1_000,
    )
    messages: list[Message] = []
    while len(messages) < count:
        batch = receive_batch(consumer, settings)
        assert batch, f"expected {count} messages within 30 s, got {len(messages)}"
        messages += batch
    return messages


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    schema = copy.deepcopy(SCHEMA)
    change(schema)
    return schema


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in schema["fields"] if one["name"] == name)


def without(name: str) -> dict[str, Any]:
    return changed(lambda schema: schema["fields"].remove(field(schema, name)))


def with_more(**more: Any) -> dict[str, Any]:
    return changed(lambda schema: schema["fields"].append({"name": "host", "type": "string", **more}))


def with_symbol(**more: Any) -> dict[str, Any]:
    def grow(schema: dict[str, Any]) -> None:
        state = field(schema, "state")["type"]
        state["symbols"].append("paused")
        state.update(more)

    return changed(grow)


ACCEPTED = {
    "the contract itself": SCHEMA,
    "a new field with a default": with_more(default=""),
    "a field with a default dropped": without("executor"),
    "another order": changed(lambda schema: schema["fields"].reverse()),
    "other documentation": changed(lambda schema: schema.update(doc="other words")),
}
REFUSED = {
    "a new field without a default": with_more(),
    "a field without a default dropped": without("queue"),
    "a field without a default renamed": changed(lambda schema: field(schema, "queue").update(name="lane")),
    "int to long": changed(lambda schema: field(schema, "attempt").update(type="long")),
    "int to string": changed(lambda schema: field(schema, "attempt").update(type="string")),
    "a string made nullable": changed(lambda schema: field(schema, "queue").update(type=["null", "string"])),
}
GROWN_ENUMS = {
    "an enum that grew": with_symbol(),
    "an enum that grew and has a default": with_symbol(default="available"),
}


@pytest.mark.parametrize("schema", ACCEPTED.values(), ids=ACCEPTED)
def test_the_broker_accepts_a_compatible_producer(
    client: Client, settings: ProvisionSettings, schema: dict[str, Any]
) -> None:
    """Our own rules accept its schema too, and its events are read."""
    assert problems(SCHEMA, schema) == []
    publish(client, settings.topic, EVENT, schema=schema)
    (message,) = receive(client, settings, 1)
    event = WriterSchemas(client, settings).decode(message)
    assert EVENT.items() <= event._asdict().items()


@pytest.mark.parametrize("schema", REFUSED.values(), ids=REFUSED)
def test_the_broker_refuses_an_incompatible_producer(
    client: Client, settings: ProvisionSettings, schema: dict[str, Any]
) -> None:
    """Our own rules refuse it too, before the broker is asked."""
    assert problems(SCHEMA, schema)
    with pytest.raises(pulsar_client.IncompatibleSchema):
        client.create_producer(settings.topic, schema=avro(schema))


@pytest.mark.parametrize("schema", GROWN_ENUMS.values(), ids=GROWN_ENUMS)
def test_an_enum_that_grew_is_accepted_by_the_broker_and_refused_by_us(
    client: Client, settings: ProvisionSettings, schema: dict[str, Any]
) -> None:
    """Its events with the new symbol are dead letters with a reason of their own; those with an old symbol are read."""
    assert any("gains the symbol paused" in problem for problem in problems(SCHEMA, schema))
    publish(client, settings.topic, {**EVENT, "state": "paused"}, EVENT, schema=schema)
    schemas = WriterSchemas(client, settings)
    decoded, reasons = [], []
    for message in receive(client, settings, 2):
        try:
            decoded.append(schemas.decode(message).state)
        except DecodeError as error:
            reasons.append(error.reason)
    assert (decoded, reasons) == (["completed"], ["unknown_state"])


def test_other_changes_that_the_broker_accepts_are_refused_by_us(
    client: Client, settings: ProvisionSettings
) -> None:
    """An enum lost a symbol that stored events have; a default changed, so that the same bytes mean two things."""
    for schema, expected in (
        (
            changed(lambda schema: field(schema, "state")["type"]["symbols"].pop()),
            "loses the symbol discarded",
        ),
        (changed(lambda schema: field(schema, "depth").update(default=0)), "changes its default"),
    ):
        client.create_producer(settings.topic, schema=avro(schema)).close()
        assert any(expected in problem for problem in problems(SCHEMA, schema))


def test_events_of_three_releases_are_each_read_by_the_schema_they_were_written_with(
    client: Client, settings: ProvisionSettings
) -> None:
    """New code reads old events: the missing field has its default. Old code reads new events: the extra field is ignored."""
    publish(client, settings.topic, {**EVENT, "job_id": "old"}, schema=without("executor"))
    publish(client, settings.topic, {**EVENT, "job_id": "now", "executor": "host:1"})
    publish(client, settings.topic, {**EVENT, "job_id": "new", "host": "h"}, schema=with_more(default=""))
    schemas = WriterSchemas(client, settings)
    messages = receive(client, settings, 3)
    events = {event.job_id: event for event in map(schemas.decode, messages)}
    assert {job_id: event.executor for job_id, event in events.items()} == {
        "old": "",
        "now": "host:1",
        "new": "",
    }


class Greeting(Record):  # type: ignore[misc]  # pulsar-client has no types
    text = String()


@pytest.mark.parametrize(
    "schema", [BytesSchema(), StringSchema(), JsonSchema(Greeting)], ids=["none", "string", "json"]
)
def test_a_producer_without_an_avro_schema_is_refused(
    client: Client, settings: ProvisionSettings, schema: pulsar_client.schema.Schema
) -> None:
    """Validation is enforced from the first producer on."""
    with pytest.raises(pulsar_client.IncompatibleSchema):
        client.create_producer(settings.topic, schema=schema)


def test_messages_of_a_topic_without_provisioning_get_a_precise_reason(
    pulsar: Pulsar, client: Client
) -> None:
    """The broker enforces nothing there: there are messages without a schema, and with schemas of other things."""
    name = own_topic(pulsar).topic.split("/")[2]
    reasons = {}
    for kind, schema, content in (
        ("none", BytesSchema(), encode(EVENT)),
        ("string", StringSchema(), "hello"),
        ("another record", avro({"type": "record", "name": "Other", "fields": []}), {}),
        ("another type", avro(REFUSED["int to long"]), EVENT),
    ):
        settings = BrokerSettings.load(
            pulsar_url=pulsar.url, topic=f"persistent://public/default/{name}-{kind.replace(' ', '-')}"
        )
        client.create_producer(settings.topic, schema=schema).send(content)
        (message,) = receive(client, settings, 1)
        with pytest.raises(DecodeError) as raised:
            WriterSchemas(client, settings).decode(message)
        reasons[kind] = raised.value.reason
    assert reasons == {
        "none": "no_schema",
        "string": "foreign_schema",
        "another record": "foreign_schema",
        "another type": "foreign_schema",
    }


def test_a_version_that_the_broker_does_not_have_is_the_messages_fault(
    client: Client, settings: ProvisionSettings
) -> None:
    """The error names the version and the topic every time; a negative version is never read as the newest."""
    schemas = WriterSchemas(client, settings)
    for _ in range(2):
        with pytest.raises(
            DecodeError, match=f"unknown_schema: cannot read schema version 7 of {settings.topic}"
        ):
            schemas.decoder(7)
    with pytest.raises(DecodeError, match="no_schema"):
        schemas.decoder(-1)
    assert schemas.decoder(0)(encode(EVENT)).job_id == "1"


def test_an_outage_while_a_schema_is_fetched_is_not_the_messages_fault() -> None:
    """It raises BrokerError every time, never a DecodeError, which would turn a good event into a dead letter."""
    settings = BrokerSettings.load(
        pulsar_url=f"pulsar://127.0.0.1:{free_ports(1)[0]}", pulsar_operation_timeout_seconds=1
    )
    client = connect(settings)
    schemas = WriterSchemas(client, settings)
    for _ in range(2):
        with pytest.raises(BrokerError, match="cannot read schema version 0"):
            schemas.decoder(0)
    client.close()


def test_the_bundled_schema_serves_without_a_registry() -> None:
    """pulsar-lite has none: the broker is not asked, whatever version a message names."""
    settings = BrokerSettings.load(
        pulsar_url=f"pulsar://127.0.0.1:{free_ports(1)[0]}", schema_registry="bundled"
    )
    client = connect(settings)
    assert WriterSchemas(client, settings).decoder(-1)(encode(EVENT)).job_id == "1"
    client.close()


def test_the_publisher_in_the_documentation_works(client: Client, settings: ProvisionSettings) -> None:
    """The example of docs/event.md runs unchanged, with nothing of jobtrail's but the schema file."""
    (example,) = re.findall(
        r"^```python\n(.*?)^```$", (ROOT / "docs/event.md").read_text(), re.MULTILINE | re.DOTALL
    )
    environment = {**os.environ, "JOBTRAIL_PULSAR_URL": settings.pulsar_url, "JOBTRAIL_TOPIC": settings.topic}
    subprocess.run([sys.executable, "-c", example], cwd=ROOT, env=environment, check=True, timeout=60)
    (message,) = receive(client, settings, 1)
    schemas = WriterSchemas(client, settings)
    event = schemas.decode(message)
    assert event.error is not None
    assert (event.worker, event.state, event.error["category"]) == ("InvoiceJob", "discarded", "timeout")
    assert schema_version(message) == 0, "the text of the file is the released schema, not one more version"
    assert message.partition_key() == event.job_id == "8317"
