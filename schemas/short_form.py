"""Reduces an Avro schema to what determines how bytes are read, and checks that reading by it is safe.

Libraries write one schema in many ways: names with or without their namespace, a definition or only its name,
``{"type": "string"}`` or ``"string"``, extra properties, comments. The short form has only the types, the order of fields,
branches and symbols, and the names of fields. ``schemas.writer_schema`` checks our own fields.
"""

import json
import re
from typing import Any, Final, NamedTuple

from schemas.errors import SchemaError

PRIMITIVES: Final = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

RECURSIVE: Final = 1_000_000
"""Depth of a type that contains itself."""

_MOST_COUNTED: Final = 1_000_000_000
_FREE_OF_ITEM: Final = 100
_FREE_OF_SCHEMA: Final = 10_000
# Java's parser, which the broker uses, skips comments, except inside strings.
_STRING_OR_COMMENT: Final = re.compile(r'("(?:\\.|[^"\\])*")|/\*.*?\*/|//[^\n]*', re.DOTALL)


class ShortForm(NamedTuple):
    """A schema in its shortest form: primitives are names, named types have new names, metadata is removed.

    The only metadata kept is the logical type of a field, as ``logical`` of the field.
    """

    root: Any
    named: dict[str, Any]
    """New name to the definition of each record, enum and fixed type."""
    depth: int
    """How deep values can nest; ``RECURSIVE`` if nothing limits it."""


class _Type(NamedTuple):
    node: Any
    is_empty: bool
    """A value takes no bytes."""
    free: int
    """How many values inside one value take no bytes: a few bytes could claim any number of them."""
    depth: int
    logical: str = ""
    """Logical type, of a primitive."""


def short_form(text: str) -> ShortForm:
    """Return the short form of a schema given as JSON.

    Raises SchemaError when it is not JSON or not an Avro schema, or when a few bytes could claim endless values.
    """
    reading = _Reading()
    try:
        root = reading.type_of(_json(text), "")
    except RecursionError as error:
        raise SchemaError("the writer's schema nests too deep to be read") from error
    if root.free > _FREE_OF_SCHEMA:
        raise SchemaError(
            f"the writer's schema has {root.free} values that take no bytes, at most {_FREE_OF_SCHEMA} are read: "
            "remove records of null fields"
        )
    return ShortForm(root.node, reading.named, root.depth)


def definition(node: Any, named: dict[str, Any]) -> Any:
    """Return the type of a node of a short form, even if the node is only its name."""
    return named.get(node, node) if isinstance(node, str) else node


def _json(text: str) -> Any:
    try:
        try:
            return json.loads(text)
        except ValueError:
            return json.loads(_STRING_OR_COMMENT.sub(lambda found: found[1] or " ", text.lstrip("\ufeff")))
    except ValueError as error:
        raise SchemaError(f"the writer's schema is not JSON: {error}") from error


class _Reading:
    """Reads one schema. Names are resolved by Avro's rule: by the namespace of the enclosing definition."""

    def __init__(self) -> None:
        self.named: dict[str, Any] = {}
        self._by_full_name: dict[str, str] = {}
        self._types: dict[str, _Type] = {}
        self._definitions = 0

    def type_of(self, node: Any, namespace: str) -> _Type:
        if isinstance(node, str):
            return self._by_name(node, namespace)
        if isinstance(node, list):
            return self._union(node, namespace)
        if not isinstance(node, dict) or "type" not in node:
            raise SchemaError(f"expected an Avro type in the writer's schema, got {str(node)[:80]}")
        kind = node["type"]
        if kind in ("record", "error"):
            return self._record(node, namespace)
        if kind == "enum":
            return self._enum(node, namespace)
        if kind == "fixed":
            return self._fixed(node, namespace)
        if kind == "array":
            items = self._inside(node, "items", namespace)
            return _Type({"type": "array", "items": items.node}, False, 0, items.depth + 1)
        if kind == "map":
            values = self._inside(node, "values", namespace)
            return _Type({"type": "map", "values": values.node}, False, 0, values.depth + 1)
        inside = self.type_of(kind, namespace)
        logical = node.get("logicalType")
        return inside._replace(logical=logical) if isinstance(logical, str) else inside

    def _by_name(self, name: str, namespace: str) -> _Type:
        if name in PRIMITIVES:
            return _Type(name, name == "null", int(name == "null"), 0)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        short = self._by_full_name.get(full) or self._by_full_name.get(name)
        if short is None:
            raise SchemaError(
                f"the writer's schema names a type {name[:80]!r} that it does not define before"
            )
        # The enclosing type is not finished, so it contains itself.
        return self._types.get(short) or _Type(short, False, 0, RECURSIVE)

    def _union(self, branches: list[Any], namespace: str) -> _Type:
        if not branches:
            raise SchemaError("the writer's schema has a union of no types")
        types = [self.type_of(branch, namespace) for branch in branches]
        return _Type(
            [branch.node for branch in types],
            False,
            max(branch.free for branch in types),
            _around(types),
            max(branch.logical for branch in types),
        )

    def _inside(self, node: dict[str, Any], key: str, namespace: str) -> _Type:
        if key not in node:
            raise SchemaError(f"the writer's schema has an Avro {node['type']} without {key!r}")
        inside = self.type_of(node[key], namespace)
        if key == "items" and inside.is_empty:
            raise SchemaError(
                "the writer's schema has an array whose items take no bytes: give them a content"
            )
        if inside.free > _FREE_OF_ITEM:
            raise SchemaError(
                f"the writer's schema has {key} with {inside.free} values that take no bytes, at most {_FREE_OF_ITEM} "
                "are read: remove records of null fields"
            )
        return inside

    def _record(self, node: dict[str, Any], namespace: str) -> _Type:
        short, inner_namespace = self._define(node, namespace)
        fields = node.get("fields")
        if not isinstance(fields, list) or not all(isinstance(one, dict) for one in fields):
            raise SchemaError(f"the writer's record {str(node['name'])[:80]} has no list of fields")
        definition = self.named[short] = {"type": "record", "name": short, "fields": []}
        types = []
        for field in fields:
            name = field.get("name")
            if not isinstance(name, str) or "type" not in field:
                raise SchemaError(f"expected a field with a name and a type, got {str(field)[:80]}")
            found = self.type_of(field["type"], inner_namespace)
            types.append(found)
            logical = {"logical": found.logical} if found.logical else {}
            definition["fields"].append({"name": name, "type": found.node, **logical})
        names = {field["name"] for field in fields}
        if len(names) != len(fields):
            raise SchemaError(
                f"the writer's schema has two fields of one name in {str(node['name'])[:80]}: Avro allows one"
            )
        is_empty = all(one.is_empty for one in types)
        free = min(_MOST_COUNTED, 1 + sum(one.free for one in types))
        return self._finish(short, is_empty, free, _around(types))

    def _enum(self, node: dict[str, Any], namespace: str) -> _Type:
        short, _ = self._define(node, namespace)
        symbols = node.get("symbols")
        if not isinstance(symbols, list) or not all(isinstance(symbol, str) for symbol in symbols):
            raise SchemaError(f"the writer's enum {str(node['name'])[:80]} has no list of symbols")
        self.named[short] = {"type": "enum", "name": short, "symbols": list(symbols)}
        return self._finish(short, False, 0, 0)

    def _fixed(self, node: dict[str, Any], namespace: str) -> _Type:
        short, _ = self._define(node, namespace)
        size = node.get("size")
        if not isinstance(size, int) or size < 0:
            raise SchemaError(f"the writer's fixed type {str(node['name'])[:80]} has no size")
        self.named[short] = {"type": "fixed", "name": short, "size": size}
        return self._finish(short, size == 0, int(size == 0), 0)

    def _define(self, node: dict[str, Any], namespace: str) -> tuple[str, str]:
        """Give a named type its new name. Return it, and the namespace of the type's content."""
        name, own = node.get("name"), node.get("namespace")
        if not isinstance(name, str) or not name:
            raise SchemaError(f"the writer's schema has an Avro {node['type']} without a name")
        if "." in name:
            namespace, _, name = name.rpartition(".")
        elif isinstance(own, str):
            namespace = own
        self._definitions += 1
        short = f"T{self._definitions}"
        self._by_full_name[f"{namespace}.{name}" if namespace else name] = short
        return short, namespace

    def _finish(self, short: str, is_empty: bool, free: int, depth: int) -> _Type:
        self._types[short] = _Type(short, is_empty, free, depth)
        return self._types[short]._replace(node=self.named[short])


def _around(types: list[_Type]) -> int:
    return min(RECURSIVE, 1 + max((one.depth for one in types), default=0))
