"""What a payload may have been: read by each released schema, without asking whether its values are allowed.

For people who look at a dead letter. What consumers take is decided by ``decode`` alone.
"""

import io
from functools import cache
from typing import Any, NamedTuple

from schemas.evolution import released
from schemas.writer_schema import WriterSchema, writer_schema


class Looked(NamedTuple):
    """A payload as it reads by one of the released schemas, and how many bytes are left over behind it."""

    release: int
    event: dict[str, Any]
    bytes_left: int


def look(payload: bytes) -> Looked | None:
    """The best reading: by the schema that leaves the fewest bytes, the newest of equals. None when none reads it."""
    found = [looked for looked in (_by(release, payload) for release in released()) if looked is not None]
    return min(found, key=lambda looked: (looked.bytes_left, -looked.release), default=None)


def _by(release: int, payload: bytes) -> Looked | None:
    stream = io.BytesIO(payload)
    try:
        event = _written_by(release).read(stream)
    except Exception:  # noqa: BLE001  # fastavro raises whatever bytes lead it to; then this was not the schema
        return None
    return Looked(release, event, len(payload) - stream.tell()) if isinstance(event, dict) else None


@cache
def _written_by(release: int) -> WriterSchema:
    return writer_schema(released()[release])
