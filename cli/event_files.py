"""Reads files with events, as authors of publishers have them: JSON, JSON Lines, one Avro datum, an Avro container."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

from cli.avro_container import read_container
from cli.file_content import BLANKS, json_text, read_content, shown_name, unpacked
from cli.wire_formats import find_wire_format, is_event
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder, decoder
from schemas.errors import InputError, SchemaError
from schemas.redaction import redact
from schemas.validate import Problem, problems_of_json, problems_of_payload

_CONTAINER: Final = b"Obj\x01"
_BLANK: Final = re.compile(f"[{BLANKS}]*")
_NEXT_EVENT: Final = re.compile(r"\n(?=[{\[\x1e\ufeff])")
_EXPECTED: Final = "expected events as JSON (one object, a list of them, or one on each line) or Avro"


class Checked(NamedTuple):
    """One event of a file: its place, and its problems."""

    file: str
    place: str
    """line 3, event 3; '' where the file is one event."""
    problems: list[Problem]


def check_file(name: str, decode: Decoder) -> Iterator[Checked]:
    """Check every event of a file, or of standard input for ``-``. ``decode`` is for a datum without its schema.

    Raises InputError when the file cannot be read or has no event.
    """
    content = read_content(name)
    name = shown_name(name)
    is_empty = True
    for checked in _check_content(name, content, decode):
        is_empty = False
        yield checked
    if is_empty:
        raise InputError(f"{name} {'holds no event' if content else 'is empty'}: {_EXPECTED}.")


def schema_decoder(path: Path) -> Decoder:
    """Return a decoder by the schema in a file. Raises InputError when it cannot be read or is not a JobEvent schema."""
    try:
        return decoder(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read a schema from {str(path)!r}: {error}.") from error
    except SchemaError as error:
        raise InputError(f"{str(path)!r}: {error}.") from error


def _check_content(name: str, content: bytes, decode: Decoder) -> Iterator[Checked]:
    # First, because an event can begin with the same bytes as the other kinds: its first byte is the length of a text.
    if is_event(content, decode):
        return iter([Checked(name, "", problems_of_payload(content, decode))])
    content = unpacked(name, content)
    if not content.strip():
        return iter(())
    if content.startswith(_CONTAINER):
        return _check_container(name, content)
    text = json_text(name, content)
    return _check_datum(name, content, decode) if text is None else _check_json(name, text)


def _check_datum(name: str, content: bytes, decode: Decoder) -> Iterator[Checked]:
    problems = problems_of_payload(content, decode)
    if not is_event(content, decode):
        problems = list(_problems_of_what_it_is(content, decode)) or problems
    yield Checked(name, "", problems)


def _problems_of_what_it_is(content: bytes, decode: Decoder) -> Iterator[Problem]:
    """Yield problems that say what the bytes are instead of an event; none when that is not known."""
    found = find_wire_format(content, decode)
    if found is not None:
        says = (
            f"begins with the header of {found.name}: a message on Pulsar is the Avro datum alone, since the broker keeps "
            "the schema's version beside it. Publish the bytes after the header"
        )
        yield Problem(DeadLetterReason.MALFORMED, "", found.header.hex(" "), says)
        yield from problems_of_payload(content[len(found.header) :], decode)
    elif _is_text(content):
        line = content.decode().strip().split("\n", 1)[0]
        yield Problem(
            DeadLetterReason.MALFORMED, "", redact(line)[:80], f"is text, but not JSON: {_EXPECTED}"
        )


def _is_text(content: bytes) -> bool:
    try:
        return all(letter.isprintable() or letter.isspace() for letter in content[:4096].decode())
    except UnicodeDecodeError:
        return False


def _check_json(name: str, text: str) -> Iterator[Checked]:
    """Check one object, a list of them, or several after each other: one on each line, or over many lines."""
    try:
        whole = json.loads(text.strip(BLANKS))
    except (ValueError, RecursionError):
        yield from _check_json_values(name, text)
        return
    for place, value in _each(whole, ""):
        yield Checked(name, place, problems_of_json(value))


def _check_json_values(name: str, text: str) -> Iterator[Checked]:
    """Check JSON values one after the other. After an invalid one, continue where a line begins like an event."""
    scanner = json.JSONDecoder()
    at, line = 0, 1
    while True:
        blank = _BLANK.match(text, at)
        assert blank is not None
        line += text.count("\n", at, blank.end())
        at = blank.end()
        if at == len(text):
            return
        place = f"line {line}"
        try:
            value, end = scanner.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            following = _NEXT_EVENT.search(text, at)
            end = following.end() if following else len(text)
            first_line = redact(text[at:end].split("\n", 1)[0])
            says = f"is not JSON ({_reason(error, line)}): {_EXPECTED}"
            yield Checked(name, place, [Problem(DeadLetterReason.MALFORMED, "", first_line[:80], says)])
        else:
            for inside, one in _each(value, place):
                yield Checked(name, inside, problems_of_json(one))
        line += text.count("\n", at, end)
        at = end


def _each(value: Any, place: str) -> Iterator[tuple[str, Any]]:
    """Yield each event of a JSON value, one object or a list of them, with its place."""
    if not isinstance(value, list):
        yield place, value
        return
    for number, one in enumerate(value, 1):
        yield (f"{place}, event {number}" if place else f"event {number}"), one


def _reason(error: Exception, line: int) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} in line {error.lineno}, column {error.colno}"
    return "it nests too deep" if isinstance(error, RecursionError) else f"{error} in line {line}"


def _check_container(name: str, content: bytes) -> Iterator[Checked]:
    """Check each event of a container by the schema in the file."""
    number = 0
    try:
        events = read_container(name, content)
        for number, payload in enumerate(events.payloads, 1):
            yield Checked(name, f"event {number}", problems_of_payload(payload, events.decode))
    except SchemaError as error:
        yield Checked(name, "", [Problem(DeadLetterReason.FOREIGN_SCHEMA, "", "", str(error))])
    except EOFError as error:
        says = f"the file breaks off here: {error}"
        yield Checked(name, f"event {number + 1}", [Problem(DeadLetterReason.MALFORMED, "", "", says)])
