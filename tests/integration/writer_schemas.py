"""The contract as other languages' libraries write it: different texts with the same meaning, and some with another one.

The spellings are those of these libraries: Avro for Java (generated classes, reflection), C# and Ruby, Kafka Connect,
hamba/avro and goavro (Go), apache-avro (Rust), avsc (Node), fastavro and pulsar-client (Python).
"""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import fastavro

from schemas.contract import SCHEMA, SCHEMA_TEXT

Json = dict[str, Any]
FILES = Path(__file__).parents[1] / "writer_schemas"

OCCURRED_AT = 1_790_000_000_123_000
EVENT: Json = {
    "namespace": "kino-żółw",
    "job_id": "8317",
    "worker": "MoviePageJob",
    "queue": "pages",
    "state": "discarded",
    "attempt": 3,
    "occurred_at": OCCURRED_AT,
    "source": "krakow",
    "max_attempts": 3,
    "enqueued_at": OCCURRED_AT - 9_000_000,
    "scheduled_at": OCCURRED_AT - 8_000_000,
    "started_at": OCCURRED_AT - 7_000_000,
    "parent_job_id": "8316",
    "root_job_id": "8000",
    "depth": 2,
    "depends_on": ["8314", "8315"],
    "expected_children": {"PosterJob": 4},
    "external_id": "movie:4711",
    "error": {
        "category": "timeout",
        "type": "ReadTimeout",
        "message": "no answer within 30 s",
        "stacktrace": "  at fetch\n" * 20,
        "origin": "pages:fetch",
        "fingerprint": "f",
    },
    "release": "1.2",
    "executor": "host:1",
    "args": '{"url": "…"}',
    "meta": {"trace": "abc"},
}
"""Every field is set. The time is in whole milliseconds, for schemas without a smaller unit."""


class Spelling(NamedTuple):
    """One way to write the contract. ``is_quick``: ``schemas.compiled`` compiles a function for it."""

    name: str
    text: str
    is_quick: bool = True
    change: Callable[[Json], Json] = lambda event: event
    """From EVENT to the value that the schema encodes."""
    encoded_by: Json | None = None
    """The schema to encode by, if the text is more than JSON."""

    def encode_schema(self) -> Json:
        schema: Json = self.encoded_by or json.loads(self.text)
        return schema


def changed(change: Callable[[Json], object]) -> str:
    schema = copy.deepcopy(SCHEMA)
    change(schema)
    return json.dumps(schema, ensure_ascii=False)


def field(schema: Json, name: str) -> Json:
    found: Json = next(one for one in schema["fields"] if one["name"] == name)
    return found


def typed(name: str, kind: Any) -> str:
    return changed(lambda schema: field(schema, name).update(type=kind))


def every_type(change: Callable[[Any], Any]) -> str:
    """Return the contract with each type replaced, also inside of other types."""

    def walk(node: Any) -> Any:
        if isinstance(node, list):
            return [walk(branch) for branch in node]
        if isinstance(node, dict):
            node = dict(node)
            for inside in ("items", "values"):
                if inside in node:
                    node[inside] = walk(node[inside])
            if "fields" in node:
                node["fields"] = [{**one, "type": walk(one["type"])} for one in node["fields"]]
        return change(node)

    return json.dumps(walk(SCHEMA))


def _java_generated(node: Any) -> Any:
    if node == "string":
        return {"type": "string", "avro.java.string": "String"}
    if isinstance(node, dict) and node["type"] == "map":
        return {**node, "avro.java.string": "String"}
    return node


def _canonical() -> str:
    """Return Avro's Parsing Canonical Form: no defaults, no documentation, full names. hamba/avro registers it."""
    return fastavro.schema.to_parsing_canonical_form(SCHEMA)


def _java_reflected(schema: Json) -> None:
    """Change it as for a plain class: the package as namespace, no defaults, Java's types as annotations."""
    schema.update(namespace="com.acme.jobs")
    del schema["doc"]
    for one in schema["fields"]:
        one.pop("default", None)
        one.pop("doc", None)
    field(schema, "depends_on")["type"]["java-class"] = "java.util.List"
    field(schema, "attempt").update(type={"type": "int", "java-class": "java.lang.Short"})
    field(schema, "error")["type"][1].update(namespace="com.acme.jobs.JobEvent$")
    field(schema, "state")["type"].update(namespace="com.acme.jobs")
    field(schema, "occurred_at").update(type="long")


def _with_metadata_everywhere(schema: Json) -> None:
    schema.update(
        aliases=["Event", "old.JobEvent"], owner={"team": "jobs"}, **{"connect.name": "jobs.JobEvent"}
    )
    for one in schema["fields"]:
        one.update(
            aliases=[f"{one['name']}_old"], order="ignore", **{"connect.doc": ["x"], "logicalType": "none"}
        )
    field(schema, "state")["type"].update(aliases=["S"], default="available", doc="states")
    field(schema, "error")["type"][1].update({"connect.version": 3, "default": {}, "items": 1})


def _rust(schema: Json) -> None:
    """Make fields nullable: serde writes absent values as null."""
    for one in schema["fields"]:
        one.setdefault("doc", None)
    field(schema, "state")["type"].update(doc=None, namespace=None)


def _full_names(schema: Json) -> None:
    """Write names with their namespace in front, as avsc and Chr.Avro do."""
    del schema["namespace"]
    schema.update(name="jobtrail.JobEvent")
    field(schema, "state")["type"].update(name="jobtrail.JobState")
    field(schema, "error")["type"][1].update(name="jobtrail.JobError")


def _state_first(schema: Json) -> None:
    first = {"name": "previous_state", "type": field(schema, "state")["type"], "default": "available"}
    schema["fields"].insert(0, first)
    field(schema, "state").update(type="JobState")


def _nested_causes(schema: Json) -> None:
    cause = {"name": "cause", "type": ["null", "JobError"], "default": None}
    field(schema, "error")["type"][1]["fields"].append(cause)


SPELLINGS = [
    *(Spelling(path.stem, path.read_text(encoding="utf-8")) for path in sorted(FILES.glob("*.avsc"))),
    Spelling("canonical form (hamba/avro)", _canonical()),
    Spelling("classes generated for Java", every_type(_java_generated)),
    Spelling("classes reflected by Java", changed(_java_reflected)),
    Spelling("metadata everywhere (Kafka Connect)", changed(_with_metadata_everywhere)),
    Spelling("null for absent values (apache-avro)", changed(_rust)),
    Spelling("full names (avsc, Chr.Avro)", changed(_full_names)),
    Spelling("every type in an object", every_type(lambda node: {"type": node} if isinstance(node, str) else node)),
    Spelling("parsed by fastavro", json.dumps(fastavro.parse_schema(SCHEMA))),
    Spelling("no namespace (pulsar-client)", changed(lambda schema: schema.pop("namespace"))),
    Spelling("another name", changed(lambda schema: schema.update(name="Event", namespace="a.b"))),
    Spelling("another name of the error", changed(lambda schema: field(schema, "error")["type"][1].update(name="E"))),
    Spelling("the error as a protocol's error", changed(lambda schema: field(schema, "error")["type"][1].update(type="error")), encoded_by=SCHEMA),
    Spelling("the enum defined by another field", changed(_state_first), change=lambda event: {**event, "previous_state": "available"}),
    Spelling("an error that has a cause", changed(_nested_causes), is_quick=False, change=lambda event: {**event, "error": {**event["error"], "cause": event["error"]}}),
    Spelling("symbols in another order", changed(lambda schema: field(schema, "state")["type"]["symbols"].reverse())),
    Spelling("fields in another order", changed(lambda schema: schema["fields"].reverse())),
    Spelling("other defaults", changed(lambda schema: [field(schema, "depth").update(default=7), field(schema, "state").update(default="available"), field(schema, "meta").update(default={"a": "b"})])),
    Spelling("comments", SCHEMA_TEXT.replace("{", '{ // a "comment"\n /* and {another} */', 1).replace("Unique in", "http://x/*y*/ in"), encoded_by=SCHEMA),
    Spelling("letters of any script", changed(lambda schema: schema["fields"].append({"name": "größe", "type": "string", "default": "", "doc": "żółw"})), change=lambda event: {**event, "größe": "1"}),
    Spelling("symbols of any script", changed(lambda schema: schema["fields"].append({"name": "kind", "type": {"type": "enum", "name": "K", "symbols": ["größe", "b"]}, "default": "b"})), encoded_by={**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "kind", "type": "int"}]}, change=lambda event: {**event, "kind": 0}),
    Spelling("texts as bytes", changed(lambda schema: [field(schema, "job_id").update(type="bytes"), field(schema, "executor").update(type="bytes"), field(schema, "depends_on")["type"].update(items="bytes"), field(schema, "meta")["type"].update(values="bytes")]), encoded_by=SCHEMA),
    Spelling("a UUID for an id", typed("external_id", {"type": "string", "logicalType": "uuid"})),
    Spelling("unions of one type", changed(lambda schema: [field(schema, name).update(type=[field(schema, name)["type"]]) for name in ("job_id", "state", "attempt", "occurred_at", "meta", "depends_on")])),
    Spelling("unions of types that are read the same", changed(lambda schema: [field(schema, "worker").update(type=["bytes", "string"]), field(schema, "started_at").update(type=["int", "long"])]), is_quick=False),
    Spelling("the error first, with a default", changed(lambda schema: field(schema, "error").update(type=[*reversed(field(schema, "error")["type"])], default={}))),
    Spelling("times without a unit", changed(lambda schema: [one.update(type="long") for one in schema["fields"] if one["name"].endswith("_at")])),
    Spelling("times of another zone's type", changed(lambda schema: [one["type"].update(logicalType="local-timestamp-micros") for one in schema["fields"] if one["name"].endswith("_at")])),
    Spelling("times in milliseconds", changed(lambda schema: [one["type"].update(logicalType="timestamp-millis") for one in schema["fields"] if one["name"].endswith("_at")]), is_quick=False, change=lambda event: {name: value // 1000 if name.endswith("_at") else value for name, value in event.items()}),
    Spelling("times in nanoseconds", changed(lambda schema: field(schema, "occurred_at")["type"].update(logicalType="timestamp-nanos")), is_quick=False, change=lambda event: {**event, "occurred_at": event["occurred_at"] * 1000}),
    Spelling("microseconds in a field of milliseconds", changed(lambda schema: field(schema, "occurred_at")["type"].update(logicalType="timestamp-millis")), is_quick=False),
]  # fmt: skip
"""The broker accepts each beside the contract, and its events are EVENT."""


class Foreign(NamedTuple):
    """A schema whose events cannot be read as ours, and the difference that the reason must name."""

    name: str
    text: str
    difference: str


FOREIGN = [
    Foreign("a wider number", typed("attempt", "long"), "expected JobEvent.attempt to be int, got long"),
    Foreign("nullable texts", typed("queue", ["null", "string"]), "expected JobEvent.queue to be string, got a union of null and string"),
    Foreign("states as texts", typed("state", "string"), "expected JobEvent.state to be enum, got string"),
    Foreign("an array for a map", typed("meta", {"type": "array", "items": "string"}), "expected JobEvent.meta to be map of string, got array of string"),
    Foreign("wider counts", typed("expected_children", {"type": "map", "values": "long"}), "expected each value of JobEvent.expected_children to be int, got long"),
    Foreign("numbers for ids", typed("depends_on", {"type": "array", "items": "long"}), "expected each item of JobEvent.depends_on to be string, got long"),
    Foreign("a fixed id", typed("job_id", {"type": "fixed", "name": "Uuid", "size": 16}), "expected JobEvent.job_id to be string, got fixed"),
    Foreign("a text for the error", typed("error", ["null", "string"]), "expected JobEvent.error to be a union of null and record, got a union of null and string"),
    Foreign("a number inside of the error", changed(lambda schema: field(schema, "error")["type"][1]["fields"][0].update(type="int")), "expected JobEvent.error.category to be string, got int"),
    Foreign("a required field left out", changed(lambda schema: schema["fields"].remove(field(schema, "worker"))), "expected a field JobEvent.worker, which is required, got none"),
    Foreign("another record", '{"type": "record", "name": "Other", "fields": []}', "expected a field JobEvent.namespace, which is required, got none; expected a field JobEvent.job_id"),
    Foreign("no record", '"string"', "expected JobEvent to be record, got string"),
]  # fmt: skip
