"""A decoder generated for one writer's schema: the fast path for plain events, and nearly all events are plain.

fastavro asks its stream for each byte of a number and for the length of each text. The function generated here treats the
payload as one Latin-1 text and slices the fields out of it. It returns only events that decoded completely and that every
table can hold. It returns None for anything else: a broken payload, a value out of range, a list in several blocks. Then
the general decoder of ``schemas.decode`` decides. So this one may accept less than the general decoder, never more; a test
compares the two.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from schemas.contract import (
    BYTES,
    ERROR_TEXTS,
    INT_MAX,
    OCCURRED_MAX,
    OCCURRED_MIN,
    RANKS,
    REQUIRED_TEXT,
    Event,
)
from schemas.short_form import definition
from schemas.slices import NOT_SHORT, SHORT, UnexpectedError, names, small
from schemas.writer_schema import WriterSchema

Quick = Callable[[bytes], Event | None]

_INT_BOUNDS: Final = {"attempt": (1, INT_MAX), "max_attempts": (0, INT_MAX), "depth": (-1, INT_MAX)}
_MOST_LINES: Final = 1_000
"""Longest function that is generated. The contract needs about ninety lines; a schema of 3 MB would compile for 30 s."""


def compiled(writer: WriterSchema) -> Quick | None:
    """Return the decoder for a writer's schema, or None when the schema has a type or unit that is not supported here.

    No text of the schema becomes source code: fields are numbered, and their names, symbols and defaults are constants.
    """
    if writer.units:
        return None
    writing = _Writing(writer.named)
    try:
        lines = list(writing.lines(writer.fields, writer.missing, writer.error_missing))
    except UnexpectedError:
        return None
    if len(lines) > _MOST_LINES:
        return None
    source = "\n".join(["def quick(p):", "    try:", *(f"        {line}" for line in lines), _OTHERWISE])
    known: dict[str, Any] = {**names(), **writing.constants}
    exec(compile(source, "<decoder of a writer's schema>", "exec"), known)  # noqa: S102  # made of fixed pieces above and below
    quick: Quick = known["quick"]
    return quick


_EIGHT_BYTES: Final = "a, b, c, d = pairs(p, i); i += 8; n = first[a] + second[b] + third[c] + last[d]"
"""Read a number of eight bytes. Its lowest bit is its sign."""

_OTHERWISE: Final = "    except NOT_PLAIN:\n        return None"


class _Writing:
    """Generates the source of one function, and collects the constants it uses."""

    def __init__(self, named: dict[str, Any]) -> None:
        """``named``: definitions of the types that fields name."""
        self.constants: dict[str, Any] = {}
        self._named = named
        self._values = 0

    def lines(
        self, fields: list[Any], missing: dict[str, Any], error_missing: dict[str, str]
    ) -> Iterator[str]:
        """Yield the lines of the function's body, not indented."""
        yield "t = str(p, 'latin-1')"
        yield "i = 0"
        values: dict[str, str] = {}
        texts: list[str] = []
        for field in fields:
            name, kind = field["name"], definition(field["type"], self._named)
            value = values[name] = self._value()
            if isinstance(kind, list) and len(kind) == 1:
                yield "if p[i]: return None"
                yield "i += 1"
                kind = definition(kind[0], self._named)
            if kind == "string":
                texts.append(value)
                yield from self._text(value, name)
            elif isinstance(kind, list):
                yield from self._record_or_null(value, name, kind, error_missing if name == "error" else {})
            else:
                yield from self._other(value, name, kind)
        yield "if i != len(p): return None"
        yield from _checked(texts)
        yield f"if not ({' and '.join(values[name] for name in REQUIRED_TEXT)}): return None"
        known = {**values, **{name: self._constant(default) for name, default in missing.items()}}
        yield f"return new(Event, ({', '.join(known[name] for name in Event._fields)}))"

    def _value(self) -> str:
        self._values += 1
        return f"v{self._values}"

    def _constant(self, value: Any) -> str:
        name = f"C{len(self.constants)}"
        self.constants[name] = value
        return name

    def _dict(self, values: dict[str, str], missing: dict[str, Any]) -> str:
        items = [f"{self._constant(name)}: {value}" for name, value in values.items()]
        items += [f"{self._constant(name)}: {self._constant(default)}" for name, default in missing.items()]
        return f"{{{', '.join(items)}}}"

    def _text(self, value: str, name: str) -> Iterator[str]:
        if name in BYTES:
            yield f"j = i + past[p[i]]; {value} = t[i + 1:j]; i = j"
        else:
            yield "n = p[i]; i += 1"
            yield f"if n & {NOT_SHORT}: n, i = long_length(p, i)"
            yield f"j = i + (n >> 1); {value} = t[i:j]; i = j"

    def _record_or_null(
        self, value: str, name: str, union: list[Any], missing: dict[str, str]
    ) -> Iterator[str]:
        branches = [definition(branch, self._named) for branch in union]
        if len(branches) != 2 or "null" not in branches:
            raise UnexpectedError
        null = branches.index("null")
        record = branches[1 - null]
        if not isinstance(record, dict) or record["type"] != "record":
            raise UnexpectedError
        if any(field["type"] != "string" for field in record["fields"]):
            raise UnexpectedError
        inner = {field["name"]: self._value() for field in record["fields"]}
        kept = {text: value for text, value in inner.items() if name != "error" or text in ERROR_TEXTS}
        yield "n = p[i]; i += 1"
        yield f"if n == {2 * null}: {value} = None"
        yield f"elif n == {2 * (1 - null)}:"
        body = [line for name, text in inner.items() for line in self._text(text, f"error.{name}")]
        body += [*_checked(list(inner.values())), f"{value} = {self._dict(kept, missing)}"]
        yield from (f"    {line}" for line in body)
        yield "else: return None"

    def _other(self, value: str, name: str, kind: Any) -> Iterator[str]:
        if kind == "long" and name == "occurred_at":
            yield f"{_EIGHT_BYTES}; {value} = n >> 1"
            yield f"if n & 1 or not {OCCURRED_MIN} <= {value} <= {OCCURRED_MAX}: return None"
        elif kind == "long":
            # Times from 1978 to 3111 take eight bytes.
            yield f"if p[i] == 0: {value} = 0; i += 1"
            yield "else:"
            yield f"    {_EIGHT_BYTES}; {value} = n >> 1"
            yield "    if n & 1: return None"
        elif kind == "int" and name != "occurred_at":
            least, most = _INT_BOUNDS.get(name, (-INT_MAX, INT_MAX))
            by_byte = self._constant([small(byte, least) for byte in range(256)])
            yield f"{value} = {by_byte}[p[i]]; i += 1"
            yield f"if {value} is None: {value}, i = number(p, i, {least}, {most})"
        elif isinstance(kind, dict) and kind["type"] == "enum":
            symbols = enumerate(kind["symbols"])
            known = {2 * at: symbol for at, symbol in symbols if name != "state" or symbol in RANKS}
            by_byte = self._constant({byte: symbol for byte, symbol in known.items() if byte < SHORT})
            yield f"{value} = {by_byte}[p[i]]; i += 1"
        elif kind in (
            {"type": "array", "items": "string"},
            {"type": "map", "values": "string"},
            {"type": "map", "values": "int"},
        ):
            read = "texts" if kind["type"] == "array" else "map_of_texts"
            if kind.get("values") == "int":
                read = "map_of_counts"
            # Events are never changed, so all empty lists can be one object.
            empty = self._constant([] if kind["type"] == "array" else {})
            yield f"if p[i] == 0: {value} = {empty}; i += 1"
            yield f"else: {value}, i = {read}(p, i)"
        else:
            raise UnexpectedError


def _checked(texts: list[str]) -> Iterator[str]:
    """Yield the lines that turn Latin-1 texts into UTF-8, and refuse texts that contain a NUL."""
    if not texts:
        return
    together = "".join(f"{{{text}}}" for text in texts)
    yield f"s = f'{together}'"
    yield f"if not s.isascii(): {', '.join(texts)}, = map(utf8, ({', '.join(texts)},))"
    yield "if '\\0' in s: return None"
