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
    INT_MAX,
    OCCURRED_MAX,
    OCCURRED_MIN,
    RANKS,
    REQUIRED_TEXT,
    Event,
)
from schemas.slices import NOT_SHORT, SHORT, UnexpectedError, names, small

Quick = Callable[[bytes], Event | None]

_INT_BOUNDS: Final = {"attempt": (1, INT_MAX), "max_attempts": (0, INT_MAX), "depth": (-1, INT_MAX)}
_MOST_LINES: Final = 1_000
"""Of a function; that of the contract has some ninety. A schema of 3 MB would be compiled for half a minute."""


def compiled(schema: Any, missing: dict[str, Any], error_missing: dict[str, str]) -> Quick | None:
    """The function for a writer's schema as ``schemas.writer_schema`` checked it; None when it has a type that is not
    known here.

    ``missing`` and ``error_missing`` are the defaults of our fields that it lacks. No text of the schema becomes source:
    fields are numbered, and their names, symbols and defaults are constants beside it.
    """
    writing = _Writing()
    try:
        lines = list(writing.lines(schema["fields"], missing, error_missing))
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

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
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
            name, kind = field["name"], _bare(field["type"])
            value = values[name] = self._value()
            if kind == "string":
                texts.append(value)
                yield from self._text(value, name)
            elif isinstance(kind, list):
                yield from self._record_or_null(value, kind, error_missing if name == "error" else {})
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

    def _record_or_null(self, value: str, union: list[Any], missing: dict[str, str]) -> Iterator[str]:
        if (
            len(union) != 2
            or union[0] != "null"
            or not isinstance(union[1], dict)
            or "fields" not in union[1]
        ):
            raise UnexpectedError
        fields = union[1]["fields"]
        if any(_bare(field["type"]) != "string" for field in fields):
            raise UnexpectedError
        inner = {field["name"]: self._value() for field in fields}
        if len(inner) != len(fields):
            raise UnexpectedError
        yield "n = p[i]; i += 1"
        yield f"if n == 0: {value} = None"
        yield "elif n == 2:"
        body = [line for name, text in inner.items() for line in self._text(text, f"error.{name}")]
        body += [*_checked(list(inner.values())), f"{value} = {self._dict(inner, missing)}"]
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
        elif kind == "int":
            least, most = _INT_BOUNDS.get(name, (-INT_MAX, INT_MAX))
            by_byte = self._constant([small(byte, least) for byte in range(256)])
            yield f"{value} = {by_byte}[p[i]]; i += 1"
            yield f"if {value} is None: {value}, i = number(p, i, {least}, {most})"
        elif isinstance(kind, dict) and kind["type"] == "enum":
            symbols = (
                dict(kind["symbols"])
                if isinstance(kind["symbols"], dict)
                else dict(enumerate(kind["symbols"]))
            )
            known = {2 * at: symbol for at, symbol in symbols.items() if name != "state" or symbol in RANKS}
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


def _bare(kind: Any) -> Any:
    """A type in its shortest form: what fastavro notes beside it left out."""
    if isinstance(kind, dict) and kind.get("type") in ("array", "map"):
        inner = "items" if kind["type"] == "array" else "values"
        return {"type": kind["type"], inner: _bare(kind[inner])}
    if isinstance(kind, dict) and kind.get("type") not in ("record", "enum"):
        return kind.get("type")
    return kind
