"""Events for tests of the law: a test sets some fields, the others have the contract's defaults."""

from typing import Any

from tests.law.oracle import Event

NOT_READY = "film 17 is not ready"


def event(job_id: str, worker: str, state: str, occurred_at: int, **fields: Any) -> Event:
    """Return an event with these fields; the others have the contract's defaults."""
    defaults: Event = {
        **dict.fromkeys(
            ("source", "parent_job_id", "root_job_id", "external_id", "release", "executor", "args"), ""
        ),
        **dict.fromkeys(("max_attempts", "enqueued_at", "scheduled_at", "started_at"), 0),
        "depth": -1,
        "depends_on": [],
        "expected_children": {},
        "error": None,
        "meta": {},
        "attempt": 1,
        "queue": "q",
    }
    known = {
        "namespace": "kino",
        "job_id": job_id,
        "worker": worker,
        "state": state,
        "occurred_at": occurred_at,
    }
    return {**defaults, **known, **fields}


def not_ready(message: str = NOT_READY) -> dict[str, str]:
    empty = dict.fromkeys(("stacktrace", "fingerprint"), "")
    return {
        "category": "movie_not_ready",
        "type": "NotReady",
        "message": message,
        "origin": "showtimes:process",
        **empty,
    }
