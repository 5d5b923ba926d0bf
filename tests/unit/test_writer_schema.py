"""Which writers' schemas are accepted: those of JobEvent, unless a few bytes could decode to endless values."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import SCHEMA
from schemas.decode import decoder
from schemas.errors import SchemaError
from schemas.writer_schema import writer_schema
from testing.topics import EVENT, encode

ROOT = Path(__file__).parents[2]


def added(field_type: Any) -> str:
    """Return our schema with one more field; the broker would accept it, because it has a default."""
    fields = [*SCHEMA["fields"], {"name": "more", "type": field_type, "default": []}]
    return json.dumps({**SCHEMA, "fields": fields})


def test_our_own_schema_is_accepted() -> None:
    """It is accepted even with a field that we do not know yet."""
    assert writer_schema(json.dumps(SCHEMA)).missing == {}
    assert writer_schema(added({"type": "array", "items": "string"})).missing == {}


@pytest.mark.parametrize(
    "items",
    [
        "null",
        {"type": "null"},
        {"type": "record", "name": "Nothing", "fields": []},
        {"type": "record", "name": "Nothing", "fields": [{"name": "none", "type": "null"}]},
        {"type": "fixed", "name": "Nothing", "size": 0},
    ],
)
def test_arrays_of_items_without_bytes_are_refused(items: Any) -> None:
    """A payload of 40 bytes could claim to have a billion items."""
    with pytest.raises(SchemaError, match="items take no bytes"):
        writer_schema(added({"type": "array", "items": items}))


TREE = {
    "type": "record",
    "name": "Tree",
    "fields": [{"name": "below", "type": {"type": "array", "items": "Tree"}}],
}
ENDLESS = {"type": "record", "name": "Endless", "fields": [{"name": "again", "type": "Endless"}]}
CHAIN = [
    {
        "type": "record",
        "name": f"R{number}",
        "fields": [{"name": "next", "type": f"R{number - 1}" if number else "int"}],
    }
    for number in range(20_000)
]


def test_a_record_that_contains_itself_is_accepted() -> None:
    """Its events are read as deeply as the payload nests."""
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "more", "type": TREE}]}
    payload = encode({**EVENT, "more": {"below": [{"below": [{"below": []}]}]}}, schema)
    assert decoder(added(TREE))(payload).job_id == EVENT["job_id"]


@pytest.mark.parametrize(
    ("more", "rest", "becomes"),
    [
        ([TREE], b"\x02" * 1_000_000, b"malformed"),
        ([ENDLESS], b"", b"malformed"),
        (CHAIN[:100], b"\x02" * 50, b"malformed"),
        (CHAIN, b"\x02" * 50, b"refused"),
    ],
    ids=[
        "nested a million times",
        "nested endlessly",
        "100 nested records",
        "20,000 of them",
    ],
)
def test_a_deeply_nested_payload_does_not_end_the_process(
    more: list[Any], rest: bytes, becomes: bytes
) -> None:
    """The operating system would kill a reader that recurses in C, again at each redelivery."""
    fields = [{"name": f"more{number}", "type": kind} for number, kind in enumerate(more)]
    schema = json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], *fields]})
    code = (
        "import sys; from schemas.decode import decoder; from schemas.errors import DecodeError, SchemaError\n"
        "schema, payload = sys.stdin.buffer.read().split(b'\\0\\0\\0\\0', 1)\n"
        "try: decoder(schema.decode())(payload)\n"
        "except DecodeError as error: print(error.reason)\n"
        "except SchemaError: print('refused')"
    )
    given = schema.encode() + b"\0\0\0\0" + encode(EVENT) + rest
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=given, capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout.strip()) == (0, becomes), done.stderr[-2_000:]


def doubling(first: Any, times: int) -> list[dict[str, Any]]:
    """Return nested records, each of which contains the previous one twice."""
    records = [{"type": "record", "name": "D0", "fields": [{"name": "a", "type": first}]}]
    for number in range(1, times):
        both = [{"name": name, "type": f"D{number - 1}"} for name in "ab"]
        records.append({"type": "record", "name": f"D{number}", "fields": both})
    return records


def test_records_with_billions_of_values_of_no_bytes_are_refused() -> None:
    """The first of forty records is a null, and each contains the previous one twice: an empty payload has 2^40 values."""
    fields = [{"name": f"more{number}", "type": kind} for number, kind in enumerate(doubling("null", 40))]
    with pytest.raises(SchemaError, match="values that take no bytes"):
        writer_schema(json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], *fields]}))
    items = {"type": "array", "items": {"type": "record", "name": "I", "fields": [
        {"name": "a", "type": "int"}, *({"name": f"n{number}", "type": "null"} for number in range(1_000))
    ]}}  # fmt: skip
    with pytest.raises(SchemaError, match="values that take no bytes"):
        writer_schema(added(items))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"type": "enum", "name": "E"}, "has no list of symbols"),
        ({"type": "record", "name": "E"}, "has no list of fields"),
        ({"type": "array"}, "an Avro array without 'items'"),
        ({"type": "fixed", "name": "E", "size": -1}, "has no size"),
        ("Nowhere", "names a type 'Nowhere'"),
        ([], "a union of no types"),
        (7, "expected an Avro type"),
    ],
)
def test_a_type_that_is_not_avro_is_refused_with_the_fault(change: Any, expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        writer_schema(added(change))


def test_every_difference_is_named_at_once() -> None:
    fields = [field for field in SCHEMA["fields"] if field["name"] != "queue"]
    fields[0] = {"name": "namespace", "type": "int"}
    with pytest.raises(SchemaError) as raised:
        writer_schema(json.dumps({**SCHEMA, "fields": fields}))
    assert "expected JobEvent.namespace to be string, got int; expected a field JobEvent.queue" in str(
        raised.value
    )


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"string"', '{"type": "record", "name": "JobEvent", "fields": []}', "null"]
)
def test_a_schema_that_is_not_a_job_event_is_refused(text: str) -> None:
    """Our own error replaces every error that fastavro raises."""
    with pytest.raises(SchemaError):
        writer_schema(text)
