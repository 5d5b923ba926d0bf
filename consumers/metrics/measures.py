"""Measures the events of one batch. Pure, and fast: most events cost one look-up.

Keys are the events' own values, of any number and length. What may be shown of them is decided later, once for each key of
a batch (``tally``).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.contract import FAILURES, FINISHED, Event

US = 1_000_000


@dataclass(frozen=True)
class Measures:
    """What one batch adds. Times are microseconds."""

    events: dict[tuple[str, str], int] = field(default_factory=dict)
    """(namespace, state) to events."""
    occurred_at: list[int] = field(default_factory=list)
    """When the events occurred, one for each, in order of time."""
    attempts: dict[tuple[str, str, str, str, str], int] = field(default_factory=dict)
    """(namespace, source, worker, queue, outcome) to finished attempts."""
    failures: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """(namespace, source, worker, error category) to failed attempts."""
    finished: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    """(namespace, source, outcome, second in which the slot of time begins) to attempts that succeeded or failed."""
    durations: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    """(namespace, worker, outcome) to how long each attempt ran; only of those that say when they started."""
    queue_waits: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(namespace, queue) to how long each first attempt waited from when it could have run until it did."""


def measure(events: Iterable[Event], slot_seconds: int) -> Measures:
    """Count the events of a batch. Finished attempts are counted by the time they ended, in slots of a number of seconds."""
    measures = Measures()
    seen, attempts, failures = measures.events, measures.attempts, measures.failures
    finished, durations, queue_waits = measures.finished, measures.durations, measures.queue_waits
    occurred_at = measures.occurred_at
    slot_us = slot_seconds * US
    for event in events:
        namespace, state, at = event.namespace, event.state, event.occurred_at
        occurred_at.append(at)
        kind = (namespace, state)
        seen[kind] = seen.get(kind, 0) + 1
        if state not in FINISHED:
            continue
        source, worker, queue, started = event.source, event.worker, event.queue, event.started_at
        attempt = (namespace, source, worker, queue, state)
        attempts[attempt] = attempts.get(attempt, 0) + 1
        if state != "cancelled":
            end = (namespace, source, state, at // slot_us * slot_seconds)
            finished[end] = finished.get(end, 0) + 1
        if state in FAILURES:
            failure = (namespace, source, worker, event.error["category"] if event.error else "")
            failures[failure] = failures.get(failure, 0) + 1
        if started:
            durations.setdefault((namespace, worker, state), []).append(at - started)
            # The wait of a later attempt is a pause that its publisher chose, and most events do not say when it was over.
            ready = max(event.enqueued_at, event.scheduled_at) if event.attempt == 1 else 0
            if ready:
                queue_waits.setdefault((namespace, queue), []).append(started - ready)
    occurred_at.sort()
    return measures
