"""Decoded events of yesterday, for tests that write to the tables directly."""

from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.contract import SCHEMA_TEXT, Event
from schemas.decode import decoder
from testing.topics import EVENT, encode

NOW = datetime.now(UTC).replace(minute=30, second=0, microsecond=0) - timedelta(days=1)
NOW_US = int(NOW.timestamp()) * 1_000_000
decode = decoder(SCHEMA_TEXT)


def events(*jobs: str, **fields: Any) -> list[Event]:
    """Return an event of each job: discarded yesterday, but for the fields given."""
    return [
        decode(encode({**EVENT, "job_id": job, "occurred_at": NOW_US, "state": "discarded", **fields}))
        for job in jobs
    ]
