"""Which writers' schemas are taken: those of JobEvent; nothing that a few bytes could make endless."""

import json
from typing import Any

import pytest

from schemas.contract import SCHEMA
from schemas.errors import SchemaError
from schemas.writer_schema import writer_schema


def added(field_type: Any) -> str:
    """Our schema with one more field, which the broker would take: it has a default."""
    fields = [*SCHEMA["fields"], {"name": "more", "type": field_type, "default": []}]
    return json.dumps({**SCHEMA, "fields": fields})


def test_our_own_schema_is_taken_and_lacks_nothing() -> None:
    """Also with a field that is not ours yet."""
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
    """A payload of 40 bytes could claim a billion of them."""
    with pytest.raises(SchemaError, match="items take no bytes"):
        writer_schema(added({"type": "array", "items": items}))


def test_a_record_that_holds_itself_is_no_endless_question() -> None:
    """Looked at once."""
    tree = {
        "type": "record",
        "name": "Tree",
        "fields": [{"name": "below", "type": {"type": "array", "items": "Tree"}}],
    }
    assert writer_schema(added({"type": "array", "items": tree}))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"string"', '{"type": "record", "name": "JobEvent", "fields": []}', "null"]
)
def test_what_is_no_job_event_is_refused(text: str) -> None:
    """With one error of ours, whatever fastavro makes of it."""
    with pytest.raises(SchemaError):
        writer_schema(text)
