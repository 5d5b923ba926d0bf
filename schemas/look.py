"""Decodes a payload by each released schema without checking its values, to show dead letters to people.

Only ``decode`` decides which events the consumers accept.
"""

import io
from functools import cache
from typing import Any, NamedTuple

from schemas.evolution import released
from schemas.writer_schema import WriterSchema, writer_schema


class Looked(NamedTuple):
    """A payload as decoded by one released schema, and the number of bytes left over."""

    release: int
    event: dict[str, Any]
    bytes_left: int


def look(payload: bytes) -> Looked | None:
    """Return the best result: the fewest bytes left over, then the newest release. None if no release can decode it."""
    found = [looked for looked in (_by(release, payload) for release in released()) if looked is not None]
    return min(found, key=lambda looked: (looked.bytes_left, -looked.release), default=None)


def _by(release: int, payload: bytes) -> Looked | None:
    stream = io.BytesIO(payload)
    try:
        event = _written_by(release).read(stream)
    except Exception:  # noqa: BLE001  # fastavro raises anything on bytes of another schema
        return None
    return Looked(release, event, len(payload) - stream.tell()) if isinstance(event, dict) else None


@cache
def _written_by(release: int) -> WriterSchema:
    return writer_schema(released()[release])
