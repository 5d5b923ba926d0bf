"""A decoder put together for one writer's schema: the quick way for plain events, which nearly all are.

fastavro asks its stream for every single byte of a number and the length of every text. Here the payload is looked at as
one text of single bytes of which each field is a slice, by a function that is written out for the schema, as dataclasses
are. What it gives is an event that was decoded whole and that every table can hold. What it does not expect (a broken
payload, a value out of range, a list in several blocks) it leaves to the general way of ``schemas.decode`` by giving None.
So it may take less than that one and never more; a test holds them to each other.
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
"""Of a function; that of the contract has some ninety. A schema of 3 MB would be compiled for half a minute."""


def compiled(writer: WriterSchema) -> Quick | None:
    """Return the function for a writer's schema; None when it has a type or a unit that is not known here.

    No text of the schema becomes source: fields are numbered, and their names, symbols and defaults are constants beside
    it.
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
"""A number of eight bytes, its sign in its last bit."""

_OTHERWISE: Final = "    except NOT_PLAIN:\n        return None"


class _Writing:
    """The source of one function, and the constants it names."""

    def __init__(self, named: dict[str, Any]) -> None:
        """``named``: definitions of the types that fields name."""
        self.constants: dict[str, Any] = {}
        self._named = named
        self._values = 0

    def lines(
        self, fields: list[Any], missing: dict[str, Any], error_missing: dict[str, str]
    ) -> Iterator[str]:
        """The body of the function, without its indentation."""
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
            # Eight bytes reach from 1978 to 3111.
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
            # Nobody changes an event, so all that have none share one.
            empty = self._constant([] if kind["type"] == "array" else {})
            yield f"if p[i] == 0: {value} = {empty}; i += 1"
            yield f"else: {value}, i = {read}(p, i)"
        else:
            raise UnexpectedError


def _checked(texts: list[str]) -> Iterator[str]:
    """Texts so far of single bytes become what they are in UTF-8, and none holds a NUL."""
    if not texts:
        return
    together = "".join(f"{{{text}}}" for text in texts)
    yield f"s = f'{together}'"
    yield f"if not s.isascii(): {', '.join(texts)}, = map(utf8, ({', '.join(texts)},))"
    yield "if '\\0' in s: return None"
