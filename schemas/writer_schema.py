"""Decides which writers' schemas are accepted: a record with our fields; fields with a default may be missing.

A schema comes from the broker's registry, so from any publisher: it is hostile until it has been checked here.
``schemas.short_form`` removes what does not change how bytes are read. The rest is compared with the contract by Avro's rules
for reading one schema as another ("schema resolution").
"""

from collections.abc import Callable, Iterator
from typing import IO, Any, Final, NamedTuple

import fastavro
from fastavro import _read_py

from schemas.contract import SCHEMA, SCHEMA_TEXT
from schemas.errors import SchemaError
from schemas.short_form import ShortForm, definition, short_form

_DEEPEST_READ_IN_C: Final = 64
_MOST_DIFFERENCES: Final = 5

_MILLIS, _NANOS = (1000, 1), (1, 1000)
_UNITS: Final[dict[str, tuple[int, int]]] = {
    "timestamp-millis": _MILLIS,
    "local-timestamp-millis": _MILLIS,
    "timestamp-nanos": _NANOS,
    "local-timestamp-nanos": _NANOS,
}
"""Logical type of a time to the factor and the divisor that convert its numbers to microseconds."""

_READ_AS: Final = {("bytes", "string"), ("int", "long")}
"""Pairs of other types that Avro reads as ours: (theirs, ours)."""


class WriterSchema(NamedTuple):
    """A writer's schema, checked and ready to decode with."""

    fields: list[dict[str, Any]]
    """Name and type of each field of the record, types in their shortest form (``schemas.short_form``)."""
    named: dict[str, Any]
    """Definitions of the types that ``fields`` name."""
    read: Callable[[IO[bytes]], Any]
    """Reads one record from a stream. Raises anything when the bytes are broken."""
    missing: dict[str, Any]
    """Our fields that the writer's record lacks, with their defaults."""
    error_missing: dict[str, str]
    """The same inside of ``error``."""
    error_is_ours: bool
    """The record inside of ``error`` has our fields and no others."""
    units: dict[str, tuple[int, int]]
    """Our times that are not in microseconds, with the factor and the divisor to convert them."""


def writer_schema(text: str) -> WriterSchema:
    """Check a writer's schema and prepare it for decoding.

    Raises SchemaError when its events cannot be read as JobEvent: it is not Avro, a field of ours without a default is
    missing, or a field is of another type. The message names each difference. Also when a few bytes could keep a decoder
    busy for ever.
    """
    try:
        short = short_form(text)
        _refuse_differences(short)
        _read_bytes_as_texts(short.root, _OURS.root, short.named)
        fields = short.root["fields"]
        errors = _error_records(fields, short.named)
        return WriterSchema(
            fields=fields,
            named=short.named,
            read=_reader(short),
            missing=_missing(fields),
            error_missing={
                name: default
                for name, default in _ERROR_DEFAULTS.items()
                if any(name not in error for error in errors)
            },
            error_is_ours=all(error == set(_ERROR_DEFAULTS) for error in errors),
            units={
                field["name"]: _UNITS[field["logical"]]
                for field in fields
                if field["name"] in _TIMES and field.get("logical") in _UNITS
            },
        )
    except SchemaError:
        raise
    except Exception as error:  # fastavro raises anything when a schema is hostile
        raise SchemaError(
            f"the writer's schema is not an Avro record that fastavro can read: {error!r}"
        ) from error


def plain_schema(node: Any) -> Any:
    """Return a schema without logical types: times stay integers, which decode faster than datetimes."""
    if isinstance(node, dict):
        return {key: plain_schema(value) for key, value in node.items() if key != "logicalType"}
    if isinstance(node, list):
        return [plain_schema(item) for item in node]
    return node


_OURS: Final = short_form(SCHEMA_TEXT)
_DEFAULTS: Final[dict[str, Any]] = {
    field["name"]: field["default"] for field in SCHEMA["fields"] if "default" in field
}
_ERROR_DEFAULTS: Final[dict[str, str]] = {
    field["name"]: field["default"]
    for branch in next(field["type"] for field in SCHEMA["fields"] if field["name"] == "error")
    if branch != "null"
    for field in branch["fields"]
    if "default" in field
}
_TIMES: Final = frozenset(field["name"] for field in _OURS.root["fields"] if "logical" in field)


def _refuse_differences(short: ShortForm) -> None:
    found = list(_differences(short.root, _OURS.root, "JobEvent", short.named))
    if not found:
        return
    more = f"; and {len(found) - _MOST_DIFFERENCES} more" if len(found) > _MOST_DIFFERENCES else ""
    raise SchemaError(
        f"the writer's schema cannot be read as JobEvent: {'; '.join(found[:_MOST_DIFFERENCES])}{more}. "
        "Use job_event.avsc, or a schema with its fields and types"
    )


def _differences(theirs: Any, ours: Any, path: str, named: dict[str, Any]) -> Iterator[str]:
    """Yield each place where a value of their type cannot be read as a value of ours."""
    theirs = definition(theirs, named)
    if isinstance(theirs, list):
        found = [list(_differences(branch, ours, path, named)) for branch in theirs]
        unlike = [_difference(definition(branch, named), ours, path, named) for branch in theirs]
        if any(said == [whole] for said, whole in zip(found, unlike, strict=True)):
            yield _difference(theirs, ours, path, named)
        else:
            yield from (difference for said in found for difference in said)
    elif isinstance(ours, list):
        kind = _kind(theirs)
        like = next((branch for branch in ours if _kind(branch) == kind), None)
        if like is None:
            yield _difference(theirs, ours, path, named)
        else:
            yield from _differences(theirs, like, path, named)
    elif (_kind(theirs), _kind(ours)) in _READ_AS:
        return
    elif _kind(theirs) != _kind(ours):
        yield _difference(theirs, ours, path, named)
    elif _kind(ours) == "record":
        yield from _differences_of_fields(theirs, ours, path, named)
    elif _kind(ours) == "array":
        yield from _differences(theirs["items"], ours["items"], f"each item of {path}", named)
    elif _kind(ours) == "map":
        yield from _differences(theirs["values"], ours["values"], f"each value of {path}", named)


def _differences_of_fields(theirs: Any, ours: Any, path: str, named: dict[str, Any]) -> Iterator[str]:
    fields = {field["name"]: field["type"] for field in theirs["fields"]}
    for field in ours["fields"]:
        name = field["name"]
        if name in fields:
            yield from _differences(fields[name], field["type"], f"{path}.{name}", named)
        elif name not in (_DEFAULTS if ours is _OURS.root else _ERROR_DEFAULTS):
            yield f"expected a field {path}.{name}, which is required, got none"


def _kind(node: Any) -> str:
    """Return the name of a type; "union" for a union."""
    return "union" if isinstance(node, list) else str(node["type"] if isinstance(node, dict) else node)


def _difference(theirs: Any, ours: Any, path: str, named: dict[str, Any]) -> str:
    return f"expected {path} to be {_words(ours, _OURS.named)}, got {_words(theirs, named)}"


def _words(node: Any, named: dict[str, Any]) -> str:
    node = definition(node, named)
    kind = _kind(node)
    if kind == "union":
        return f"a union of {' and '.join(_words(branch, named) for branch in node)}"
    if kind in ("array", "map"):
        return f"{kind} of {_kind(definition(node['items' if kind == 'array' else 'values'], named))}"
    return kind


def _read_bytes_as_texts(theirs: Any, ours: Any, named: dict[str, Any]) -> Any:
    """Change a short form in place so that bytes are read as text if our field is text. Return the type.

    Both have the same encoding: a length, then the bytes.
    """
    if isinstance(theirs, list):
        theirs[:] = [_read_bytes_as_texts(branch, ours, named) for branch in theirs]
        return theirs
    if isinstance(ours, list):
        ours = next(branch for branch in ours if _kind(branch) == _kind(definition(theirs, named)))
    if theirs == "bytes" and ours == "string":
        return "string"
    whole = definition(theirs, named)
    if _kind(ours) == "array":
        whole["items"] = _read_bytes_as_texts(whole["items"], ours["items"], named)
    elif _kind(ours) == "map":
        whole["values"] = _read_bytes_as_texts(whole["values"], ours["values"], named)
    elif _kind(ours) == "record":
        types = {field["name"]: field["type"] for field in ours["fields"]}
        for field in whole["fields"]:
            if field["name"] in types:
                field["type"] = _read_bytes_as_texts(field["type"], types[field["name"]], named)
    return theirs


def _missing(fields: list[dict[str, Any]]) -> dict[str, Any]:
    theirs = {field["name"] for field in fields}
    return {name: default for name, default in _DEFAULTS.items() if name not in theirs}


def _error_records(fields: list[dict[str, Any]], named: dict[str, Any]) -> list[set[str]]:
    """Return the field names of each record that ``error`` may be; usually one."""
    kind = next((definition(field["type"], named) for field in fields if field["name"] == "error"), "null")
    branches = [definition(branch, named) for branch in (kind if isinstance(kind, list) else [kind])]
    return [{field["name"] for field in one["fields"]} for one in branches if _kind(one) == "record"]


def _reader(short: ShortForm) -> Callable[[IO[bytes]], Any]:
    """Return a function that reads one record.

    fastavro's compiled reader does not limit its recursion: a payload that nests 10,000 times ends the process. So if values can
    nest deep, its Python reader is used, which Python stops with a RecursionError.
    """
    named: dict[str, Any] = {}
    parsed = fastavro.parse_schema(_with_plain_symbols(short.root), named_schemas=named)
    for name, node in named.items():
        if node["type"] == "enum":
            # A list would take -1 for its last symbol: a broken payload would become a good event, most likely of a
            # discarded job. A dict has no -1. (A union stays a list; -1 for its last branch changes no content.)
            node["symbols"] = dict(enumerate(short.named[name]["symbols"]))
    if short.depth > _DEEPEST_READ_IN_C:
        slow = _read_py.schemaless_reader
        return lambda stream: slow(stream, parsed, None)
    quick = fastavro.schemaless_reader
    return lambda stream: quick(stream, parsed, None)


def _with_plain_symbols(node: Any) -> Any:
    """Return a copy whose symbols are of ASCII: Avro in Java allows any letter, fastavro does not."""
    if isinstance(node, list):
        return [_with_plain_symbols(branch) for branch in node]
    if not isinstance(node, dict):
        return node
    if node["type"] == "enum":
        return {**node, "symbols": [f"S{number}" for number in range(len(node["symbols"]))]}
    copy = {key: _with_plain_symbols(node[key]) if key in ("items", "values") else node[key] for key in node}
    if "fields" in node:
        copy["fields"] = [{**field, "type": _with_plain_symbols(field["type"])} for field in node["fields"]]
    return copy
