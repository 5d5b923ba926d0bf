"""Makes topics for single tests on the shared broker, and publishes with any schema."""

import io
import json
import uuid
from typing import Any

import fastavro
import pulsar
from pulsar.schema import AvroSchema

from schemas.contract import SCHEMA
from servers.pulsar import Pulsar
from settings.provision import ProvisionSettings

EVENT: dict[str, Any] = {
    "namespace": "cinegraph-test",
    "job_id": "1",
    "worker": "MoviePageJob",
    "queue": "default",
    "state": "completed",
    "attempt": 1,
    "occurred_at": 1_760_000_000_000_000,
}
"""The smallest valid event."""


def own_topic(broker: Pulsar, **settings: object) -> ProvisionSettings:
    """Return settings for a new topic in its own Pulsar namespace. Neither exists yet."""
    name = uuid.uuid4().hex[:12]
    return ProvisionSettings.load(
        **{
            "pulsar_url": broker.url,
            "pulsar_admin_url": broker.admin_url,
            "topic": f"persistent://test-{name}/lifecycle/job-events",
            "provision_partitions": 2,
            **settings,
        }
    )


def service_settings(topic: ProvisionSettings, database_url: str) -> dict[str, str]:
    """Return the environment variables with which a service finds the topic and the database."""
    return {
        "JOBTRAIL_PULSAR_URL": topic.pulsar_url,
        "JOBTRAIL_PULSAR_ADMIN_URL": topic.pulsar_admin_url,
        "JOBTRAIL_TOPIC": topic.topic,
        "JOBTRAIL_DATABASE_URL": database_url,
    }


def avro(schema: dict[str, Any] = SCHEMA) -> AvroSchema:
    """Return pulsar-client's own schema for dicts, which a publisher without the SDK would use."""
    return AvroSchema(None, schema_definition=json.loads(json.dumps(schema)))


def encode(event: dict[str, Any], schema: dict[str, Any] = SCHEMA) -> bytes:
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(schema), event)
    return stream.getvalue()


def publish(
    client: pulsar.Client, topic: str, *events: dict[str, Any], schema: dict[str, Any] = SCHEMA
) -> None:
    """Publish events with a schema, keyed by job id, and wait until the broker has them."""
    producer = client.create_producer(topic, schema=avro(schema))
    for event in events:
        producer.send(event, partition_key=event["job_id"])
    producer.close()
