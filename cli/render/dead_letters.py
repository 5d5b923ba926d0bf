"""Formats dead letters as pages and as JSON. Text from the message is escaped; its bytes are shown as hex."""

import json
from typing import Any

from cli.render.safe_text import safe
from cli.render.tables import table
from cli.render.words import plural, when
from consumers.retry import Retried
from schemas.look import Looked, look
from store.answers.as_json import row
from store.answers.dead_letters import DeadLetters, WholeLetter, format_message_id

_BYTES_A_LINE = 16
_LINES_SHOWN = 32


def letters_page(found: DeadLetters) -> str:
    """Return the counts by reason, and the newest dead letters."""
    if not found.total:
        return "no dead letters."
    counts = [(count.reason, count.messages, when(count.last_published_at)) for count in found.counts]
    rows = [
        (
            format_message_id(letter.message_id),
            letter.reason,
            when(letter.published_at),
            letter.payload_bytes,
            letter.message_key,
            letter.detail,
        )
        for letter in found.newest
    ]
    lines = [
        plural(found.total, "dead letter"),
        "",
        table(["reason", "messages", "last published"], counts, numbers=["messages"]),
        "",
        "the newest:",
        "",
        table(["message", "reason", "published", "bytes", "key", "detail"], rows, numbers=["bytes"]),
    ]
    if found.total > len(found.newest):
        lines.append(f"… and {found.total - len(found.newest)} more (--limit)")
    return "\n".join(lines)


def letters_json(found: DeadLetters) -> dict[str, Any]:
    """Return the JSON of `dead-letters list`."""
    return {
        "total": found.total,
        "reasons": [row(count) for count in found.counts],
        "newest": [row(letter) for letter in found.newest],
    }


def letter_page(found: WholeLetter) -> str:
    """Return everything about one dead letter: its reason, its origin, its bytes, and what they decode to."""
    lines = [
        f"reason          {safe(found.reason)}",
        f"detail          {safe(found.detail, 2_000)}",
        f"topic           {safe(found.topic, 200)}",
        f"message         {safe(format_message_id(found.message_id), 200)}",
        f"key             {safe(found.message_key, 200)}",
        f"published       {when(found.published_at)}",
        f"schema version  {'none' if found.schema_version < 0 else found.schema_version}",
        "",
        f"{plural(len(found.payload), 'byte')}:",
        "",
        *_hex_lines(found.payload),
        "",
    ]
    looked = look(found.payload)
    if looked is None:
        return "\n".join([*lines, "No released schema can decode these bytes."])
    event = json.dumps(looked.event, indent=2).replace("\x7f", "\\u007f")
    return "\n".join([*lines, f"{_decoded_by(looked)}:", "", *(_cut(line) for line in event.splitlines())])


def letter_json(found: WholeLetter) -> dict[str, Any]:
    """Return the JSON of `dead-letters show`: the payload as hex, and decoded by a released schema, or null."""
    looked = look(found.payload)
    read = None
    if looked is not None:
        read = {"release": looked.release, "bytes_left": looked.bytes_left, "event": looked.event}
    return row(found) | {
        "payload": found.payload.hex(),
        "payload_bytes": len(found.payload),
        "read": read,
    }


def retried_page(done: Retried) -> str:
    """Return how many dead letters were stored, removed and left."""
    lines = [f"tried {plural(done.tried, 'dead letter')}: {plural(done.stored, 'event')} stored"]
    if done.expired:
        lines.append(f"{done.expired} removed without being stored: their events are from before the horizon")
    if done.left:
        reasons = ", ".join(f"{safe(reason)} {count}" for reason, count in done.left.most_common())
        lines.append(f"{done.left.total()} left: {reasons}")
    return "\n".join(lines)


def retried_json(done: Retried) -> dict[str, Any]:
    """Return the JSON of `dead-letters retry`."""
    return {
        "tried": done.tried,
        "stored": done.stored,
        "expired": done.expired,
        "left": dict(done.left.most_common()),
    }


def _decoded_by(looked: Looked) -> str:
    left = f", with {plural(looked.bytes_left, 'byte')} left over" if looked.bytes_left else ""
    return f"Decoded by the released schema {looked.release:04}{left}"


def _hex_lines(payload: bytes) -> list[str]:
    """Return lines of offset, bytes, and the printable ASCII among them, like `xxd`."""
    lines = []
    for start in range(0, min(len(payload), _LINES_SHOWN * _BYTES_A_LINE), _BYTES_A_LINE):
        part = payload[start : start + _BYTES_A_LINE]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in part)
        lines.append(f"    {start:08x}  {part.hex(' '):<{3 * _BYTES_A_LINE}} {text}")
    if len(payload) > _LINES_SHOWN * _BYTES_A_LINE:
        lines.append(
            f"    … {len(payload) - _LINES_SHOWN * _BYTES_A_LINE:,} more bytes (--json has all of them)"
        )
    return lines


def _cut(line: str) -> str:
    """Indent and cut a line of JSON. It is ASCII, so printable already, but may be long."""
    return f"    {safe(line, 200)}"
