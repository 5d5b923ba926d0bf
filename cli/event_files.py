"""Files with events, as those who write publishers have them: JSON, JSON Lines, one Avro datum, an Avro container.

What kind a file is, is told by its first bytes, never by its name.
"""

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import fastavro

from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder, decoder
from schemas.errors import InputError, SchemaError
from schemas.validate import Problem, problems_of_json, problems_of_payload
from schemas.writer_schema import writer_schema

_CONTAINER = b"Obj\x01"
_STDIN = "-"


class Checked(NamedTuple):
    """One event of a file: where it stands, and what is wrong with it."""

    file: str
    place: str
    """line 3, event 3; '' where the file is one event."""
    problems: list[Problem]


def check_file(name: str, decode: Decoder) -> Iterator[Checked]:
    """Check every event of a file, or of standard input for ``-``; ``decode`` is for a datum without its schema.

    Raises InputError when the file cannot be read, or holds nothing.
    """
    content = _content(name)
    name = "standard input" if name == _STDIN else name
    if content.startswith(_CONTAINER):
        yield from _check_container(name, content)
    elif content.lstrip()[:1] in (b"{", b"["):
        yield from _check_json(name, content)
    elif content:
        yield Checked(name, "", problems_of_payload(content, decode))
    else:
        raise InputError(f"{name} is empty: expected events as JSON or Avro.")


def schema_decoder(path: Path) -> Decoder:
    """The decoder of the schema in a file. Raises InputError when it cannot be read or is none of JobEvent."""
    try:
        return decoder(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read a schema from {str(path)!r}: {error}.") from error
    except SchemaError as error:
        raise InputError(f"{str(path)!r}: {error}.") from error


def _content(name: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if name == _STDIN else Path(name).read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {name!r}: {error.strerror}.") from error


def _check_json(name: str, content: bytes) -> Iterator[Checked]:
    """One object, a list of them, or one on each line."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{name} looks like JSON, but is not in UTF-8: {error}.") from error
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        yield from _check_lines(name, text)
        return
    if isinstance(whole, list):
        for number, value in enumerate(whole, 1):
            yield Checked(name, f"event {number}", problems_of_json(value))
    else:
        yield Checked(name, "", problems_of_json(whole))


def _check_lines(name: str, text: str) -> Iterator[Checked]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            said = f"is no JSON ({error}): expected one object a file, a list of them, or one on each line"
            yield Checked(name, f"line {number}", [Problem(DeadLetterReason.MALFORMED, "", line[:80], said)])
        else:
            yield Checked(name, f"line {number}", problems_of_json(value))


def _check_container(name: str, content: bytes) -> Iterator[Checked]:
    """Each event by the schema in the file, and by the bytes that it has there."""
    try:
        blocks = fastavro.block_reader(io.BytesIO(content))
        schema = json.dumps(blocks.writer_schema)
    except Exception as error:  # fastavro raises whatever bytes lead it to
        raise InputError(f"{name} begins as an Avro container, but cannot be read: {error!r}.") from error
    try:
        decode, read = decoder(schema), writer_schema(schema).read
    except SchemaError as error:
        yield Checked(name, "", [Problem(DeadLetterReason.FOREIGN_SCHEMA, "", "", str(error))])
        return
    number = 0
    try:
        for block in blocks:
            data = block.bytes_.getvalue()  # type: ignore[attr-defined]  # the stub lacks it
            stream = io.BytesIO(data)
            for _ in range(block.num_records):
                number += 1
                start = stream.tell()
                read(stream)
                yield Checked(
                    name, f"event {number}", problems_of_payload(data[start : stream.tell()], decode)
                )
    except Exception as error:  # noqa: BLE001  # as above: whatever it is, the file ends here
        yield Checked(
            name,
            f"event {max(number, 1)}",
            [Problem(DeadLetterReason.MALFORMED, "", "", f"the file breaks off here: {error!r}")],
        )
