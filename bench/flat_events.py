"""The workload's events in a form for the peer: one flat Avro record, and the table that it upserts them into.

Pulsar's JDBC sink writes the fields of a record into columns; whether it can write enums, maps, arrays or nested
records was not tried. So the state is a string, the error's fields are top-level fields, and depends_on,
expected_children and meta are JSON strings (empty where the workload has none). All other fields are as in our event.
"""

import io
import json
import random
from typing import Any

import fastavro

from testing.workload import Message, events

_TEXTS = (
    "namespace",
    "job_id",
    "worker",
    "queue",
    "state",
    "source",
    "parent_job_id",
    "root_job_id",
    "external_id",
    "error_category",
    "error_type",
    "error_message",
    "error_stacktrace",
    "error_origin",
    "error_fingerprint",
    "release",
    "executor",
    "args",
    "depends_on",
    "expected_children",
    "meta",
)
_INTS = ("attempt", "max_attempts", "depth")
_TIMES = ("occurred_at", "enqueued_at", "scheduled_at", "started_at")
_DEFAULTS: dict[str, Any] = {**dict.fromkeys(_TEXTS, ""), **dict.fromkeys(_INTS + _TIMES, 0), "depth": -1}

KEY_COLUMNS = ("namespace", "job_id")
COLUMNS = (*_TEXTS, *_INTS, *_TIMES)
TABLE = "flat_jobs"

SCHEMA_TEXT = json.dumps(
    {
        "type": "record",
        "name": "JobEvent",
        "fields": [
            *({"name": name, "type": "string", "default": ""} for name in _TEXTS),
            *({"name": name, "type": "int", "default": 0} for name in _INTS),
            *({"name": name, "type": "long", "default": 0} for name in _TIMES),
        ],
    }
)

_COLUMN_LINES = [
    *(f"{name} text NOT NULL" for name in _TEXTS),
    *(f"{name} integer NOT NULL" for name in _INTS),
    *(f"{name} bigint NOT NULL" for name in _TIMES),
]
CREATE_TABLE = f"CREATE TABLE {TABLE} ({', '.join(_COLUMN_LINES)}, PRIMARY KEY ({', '.join(KEY_COLUMNS)}))"


def flat(event: dict[str, Any]) -> dict[str, Any]:
    """Return one event as a flat record."""
    error = event.get("error") or {}
    plain = {name: value for name, value in event.items() if name in _DEFAULTS}
    return {**_DEFAULTS, **plain, **{f"error_{name}": value for name, value in error.items()}}


def messages(jobs: int, start_us: int, seed: int = 1) -> list[Message]:
    """Return the workload of ``jobs`` jobs as flat records, encoded, in the shuffled order of ``testing.workload``."""
    writer = fastavro.parse_schema(json.loads(SCHEMA_TEXT))
    encoded = []
    for event in events(jobs, seed, start_us):
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, writer, flat(event))
        encoded.append(Message(event["job_id"], stream.getvalue()))
    random.Random(seed + 1).shuffle(encoded)
    return encoded
