"""Schemas as other languages' libraries write them: the real broker accepts them, and their events are read correctly."""

import enum
import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import fastavro
import pytest
from pulsar.schema import Array, AvroSchema, CustomEnum, Integer, Long, Map, Record, String

from broker.client import Client, connect, subscribe
from broker.provision import run
from broker.receive import receive_batch
from broker.registry import WriterSchemas
from schemas.compiled import compiled
from schemas.contract import STATES
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.errors import DecodeError
from schemas.writer_schema import writer_schema
from servers.pulsar import Pulsar
from settings.broker import BrokerSettings
from settings.provision import ProvisionSettings
from testing.publish import EncodedEvents
from testing.topics import own_topic
from tests.integration.writer_schemas import EVENT, FOREIGN, SPELLINGS, Foreign, Spelling

Topic = tuple[Client, ProvisionSettings]


@pytest.fixture
def topic(pulsar: Pulsar) -> Iterator[Topic]:
    """Yield a new topic that has the contract, and compares every schema with it (FULL_TRANSITIVE)."""
    settings = own_topic(pulsar)
    run(settings, check=False)
    client = connect(settings)
    yield client, settings
    client.close()


@pytest.mark.parametrize("spelling", SPELLINGS, ids=[one.name for one in SPELLINGS])
def test_events_of_another_spelling_of_the_contract_are_read_correctly(
    topic: Topic, spelling: Spelling
) -> None:
    client, settings = topic
    payload = encode(spelling)
    producer = client.create_producer(settings.topic, schema=EncodedEvents(spelling.text))
    producer.send(payload)
    producer.close()
    event = received(client, settings)
    assert event._asdict() == EVENT
    quick = compiled(writer_schema(spelling.text))
    assert (quick is not None) == spelling.is_quick
    assert quick is None or quick(payload) == event


def test_events_without_an_error_of_every_spelling_are_read_correctly() -> None:
    """The null branch of the error may be at any position."""
    for spelling in SPELLINGS:
        change = {"state": "completed", "error": None}
        schema = spelling.encode_schema()
        event = {**spelling.change(EVENT), **change}
        quick = compiled(writer_schema(spelling.text))
        if quick is not None:
            found = quick(encoded(event, schema))
            assert found is not None
            assert found._asdict() == {**EVENT, **change}, spelling.name


def test_events_of_pulsars_own_record_classes_are_read_correctly(topic: Topic) -> None:
    """They are published by pulsar-client's AvroSchema, with fields in another order, no namespace and no defaults."""
    client, settings = topic
    producer = client.create_producer(settings.topic, schema=AvroSchema(JobEvent))
    error = JobError(**EVENT["error"])
    producer.send(JobEvent(**{**EVENT, "state": JobState[EVENT["state"]], "error": error}))
    producer.close()
    assert received(client, settings)._asdict() == EVENT


@pytest.mark.parametrize("foreign", FOREIGN, ids=[one.name for one in FOREIGN])
def test_an_event_of_a_foreign_schema_is_a_dead_letter_that_names_the_difference(
    topic: Topic, pulsar: Pulsar, foreign: Foreign
) -> None:
    """The broker compares no schemas on this topic."""
    client, _ = topic
    settings = BrokerSettings.load(
        pulsar_url=pulsar.url, topic=f"persistent://public/default/foreign-{uuid.uuid4().hex}"
    )
    client.create_producer(settings.topic, schema=EncodedEvents(foreign.text)).send(b"\x02x")
    with pytest.raises(DecodeError) as raised:
        received(client, settings)
    assert raised.value.reason == DeadLetterReason.FOREIGN_SCHEMA
    assert foreign.difference in raised.value.detail


def encode(spelling: Spelling) -> bytes:
    return encoded(spelling.change(EVENT), spelling.encode_schema())


def encoded(event: dict[str, Any], schema: dict[str, Any]) -> bytes:
    """Encode by the schema without logical types and fastavro's annotations, because the times are integers."""
    plain = json.loads(json.dumps(schema), object_hook=_without_notes)
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(plain), event)
    return stream.getvalue()


def _without_notes(node: dict[str, Any]) -> dict[str, Any]:
    return {
        key: value for key, value in node.items() if key not in ("logicalType", "default") and key[:2] != "__"
    }


def received(client: Client, settings: BrokerSettings) -> Any:
    """Return the event of the next message."""
    consumer = subscribe(
        client,
        settings,
        "aggregator",
        batch_messages=1,
        batch_bytes=-1,
        batch_wait_seconds=30,
        receiver_queue=1,
    )
    try:
        (message,) = receive_batch(consumer, settings)
        consumer.acknowledge(message)
        return WriterSchemas(client, settings).decode(message)
    finally:
        consumer.close()


JobState = enum.Enum("JobState", list(STATES))  # type: ignore[misc]  # the symbols are the contract's


def _text() -> String:
    return String(required=True)


class JobError(Record):  # type: ignore[misc]  # pulsar-client has no types
    category, type, message, stacktrace, origin, fingerprint = (_text() for _ in range(6))


class JobEvent(Record):  # type: ignore[misc]
    _sorted_fields = True
    namespace, job_id, worker, queue, source, parent_job_id, root_job_id = (_text() for _ in range(7))
    external_id, release, executor, args = (_text() for _ in range(4))
    state = CustomEnum(JobState, required=True)
    attempt, max_attempts, depth = (Integer(required=True) for _ in range(3))
    occurred_at, enqueued_at, scheduled_at, started_at = (Long(required=True) for _ in range(4))
    depends_on = Array(String(required=True), required=True)
    expected_children = Map(Integer(required=True), required=True)
    meta = Map(String(required=True), required=True)
    error = JobError()
