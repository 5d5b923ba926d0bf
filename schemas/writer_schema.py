"""What a writer's schema must be for its messages to be decoded: a record JobEvent whose fields are ours, or have defaults.

A schema comes from the broker's registry, so from whoever registered it: it is hostile until it was looked at here.
"""

import json
from typing import Any, NamedTuple

import fastavro

from schemas.contract import SCHEMA
from schemas.errors import SchemaError


class WriterSchema(NamedTuple):
    """A schema as fastavro takes it, and the defaults of our fields that it lacks, also inside ``error``."""

    parsed: Any
    missing: dict[str, Any]
    error_missing: dict[str, str]


def writer_schema(text: str) -> WriterSchema:
    """Read a writer's schema.

    Raises SchemaError when it is not one of JobEvent: not Avro, a field of ours missing without a default or of
    another type, or an added field that a few bytes could make endless.
    """
    try:
        plain = plain_schema(json.loads(text))
        parsed = _without_negative_symbols(fastavro.parse_schema(plain))
        missing = _defaults_of_missing(plain, _OURS, "JobEvent")
        theirs = _error_record(plain)
        error_missing = _defaults_of_missing(theirs, _error_record(_OURS), "JobEvent.error") if theirs else {}
        _refuse_items_without_bytes(plain, {})
    except SchemaError:
        raise
    except Exception as error:  # fastavro raises whatever a hostile schema leads it to
        raise SchemaError(
            f"the writer's schema is not an Avro record that fastavro can read: {error!r}"
        ) from error
    return WriterSchema(parsed, missing, error_missing)


def plain_schema(node: Any) -> Any:
    """A schema without logical types: times stay integers, which decode faster than datetimes."""
    if isinstance(node, dict):
        return {key: plain_schema(value) for key, value in node.items() if key != "logicalType"}
    if isinstance(node, list):
        return [plain_schema(item) for item in node]
    return node


_OURS = plain_schema(SCHEMA)


def _without_negative_symbols(node: Any) -> Any:
    """Change a parsed schema in place so that fastavro refuses a negative index of an enum.

    It looks symbols up in a Python list, where -1 is the last: a broken payload would become a good event, most likely
    of a discarded job. A dict has no -1. (A union has to stay a list; -1 for its branch 1 changes no content.)
    """
    if isinstance(node, list):
        for branch in node:
            _without_negative_symbols(branch)
    elif isinstance(node, dict):
        if node.get("type") == "enum":
            node["symbols"] = dict(enumerate(node["symbols"]))
        for inside in [field["type"] for field in node.get("fields", ())] + [
            node.get("items"),
            node.get("values"),
        ]:
            _without_negative_symbols(inside)
    return node


def _refuse_items_without_bytes(node: Any, named: dict[str, Any]) -> None:
    """Items that take no bytes (null, a record of nothing else) let a payload of 40 bytes claim a billion of them."""
    if isinstance(node, list):
        for item in node:
            _refuse_items_without_bytes(item, named)
    if not isinstance(node, dict):
        return
    if "name" in node and node.get("type") in ("record", "fixed", "enum"):
        named[node["name"]] = node
    for inner in (node.get("type"), node.get("items"), node.get("values")):
        _refuse_items_without_bytes(inner, named)
    for field in node.get("fields", ()):
        _refuse_items_without_bytes(field["type"], named)
    if node.get("type") == "array" and _takes_no_bytes(node["items"], named, ()):
        raise SchemaError("the writer's schema has an array whose items take no bytes: give them a content")


def _takes_no_bytes(node: Any, named: dict[str, Any], seen: tuple[str, ...]) -> bool:
    if isinstance(node, str) and node in named and node not in seen:
        return _takes_no_bytes(named[node], named, (*seen, node))
    if isinstance(node, dict) and node.get("type") == "record":
        return all(_takes_no_bytes(field["type"], named, seen) for field in node["fields"])
    if isinstance(node, dict) and node.get("type") == "fixed":
        return bool(node["size"] == 0)
    if isinstance(node, dict):
        return _takes_no_bytes(node.get("type"), named, seen)
    return bool(node == "null")


def _defaults_of_missing(writer: Any, ours: Any, path: str) -> dict[str, Any]:
    """Defaults of our fields that the writer's record lacks, after a check of those that it has."""
    if not isinstance(writer, dict) or writer.get("type") != "record":
        raise SchemaError(f"expected {path} to be an Avro record, got {str(writer)[:80]}")
    theirs = {field["name"]: field for field in writer["fields"]}
    if len(theirs) != len(writer["fields"]):
        raise SchemaError(f"the writer's schema has two fields of one name in {path}: Avro allows one")
    missing: dict[str, Any] = {}
    for field in ours["fields"]:
        name = field["name"]
        if name in theirs:
            _check_type(theirs[name]["type"], field["type"], f"{path}.{name}")
        elif "default" in field:
            missing[name] = field["default"]
        else:
            raise SchemaError(
                f"the writer's schema has no field {path}.{name}, which has no default: it is required"
            )
    return missing


def _check_type(writer: Any, ours: Any, path: str) -> None:
    """Enums may differ in their symbols and records in their fields; everything else is to be the same."""
    if isinstance(ours, list) and isinstance(writer, list) and len(ours) == len(writer):
        for theirs, our in zip(writer, ours, strict=True):
            _check_type(theirs, our, path)
        return
    if isinstance(ours, dict) and isinstance(writer, dict) and ours["type"] == writer.get("type"):
        if ours["type"] == "record":
            _defaults_of_missing(writer, ours, path)
            return
        if ours["type"] == "enum":
            return
    if _bare(writer) != _bare(ours):
        raise SchemaError(
            f"expected {path} to be {ours}, got {str(writer)[:80]}: register the schema of this release"
        )


def _bare(node: Any) -> Any:
    """A type without what does not change its encoding."""
    if isinstance(node, dict) and set(node) <= {"type", "logicalType", "doc"} | {"avro.java.string"}:
        return _bare(node["type"])
    if isinstance(node, dict):
        return {key: _bare(value) for key, value in node.items() if key in ("type", "items", "values")}
    return node


def _error_record(schema: Any) -> Any:
    """The schema of the record inside the union of the field `error`; None when the writer has no such field."""
    union = next((field["type"] for field in schema["fields"] if field["name"] == "error"), None)
    return union[1] if isinstance(union, list) and len(union) == 2 else None
