"""Measures the events of one batch. Pure, and fast: most events cost one lookup.

Keys are the events' own values, in any number and of any length. ``tally`` decides later, once for each key of a batch, how
they are shown.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from schemas.contract import FAILURES, FINISHED, Event
from schemas.times import AHEAD_US, LONGEST_RUN_US, known_times

US = 1_000_000


@dataclass(frozen=True)
class Measures:
    """What one batch adds. Times are in microseconds."""

    events: dict[tuple[str, str], int] = field(default_factory=dict)
    """(namespace, state) to events."""
    occurred_at: list[int] = field(default_factory=list)
    """When the events occurred, one for each, in order of time."""
    attempts: dict[tuple[str, str, str, str, str], int] = field(default_factory=dict)
    """(namespace, source, worker, queue, outcome) to finished attempts."""
    failures: dict[tuple[str, str, str, str], int] = field(default_factory=dict)
    """(namespace, source, worker, error category) to failed attempts."""
    finished: dict[tuple[str, str, str, int], int] = field(default_factory=dict)
    """(namespace, source, outcome, start of the time slot in seconds) to attempts that succeeded or failed."""
    durations: dict[tuple[str, str, str], list[int]] = field(default_factory=dict)
    """(namespace, worker, outcome) to how long each attempt ran; only attempts that say when they started."""
    queue_waits: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    """(namespace, queue) to how long each first attempt waited between being ready and starting."""


def measure(events: Iterable[Event], slot_seconds: int) -> Measures:
    """Count the events of a batch. Finished attempts are counted by the time they ended, in slots of ``slot_seconds``."""
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
            ran = at - started
            durations.setdefault((namespace, worker, state), []).append(ran)
            # The wait of a later attempt is a pause that its publisher chose, and most events do not say when it ended.
            # An impossible start gives no wait either.
            if event.attempt == 1 and -AHEAD_US <= ran <= LONGEST_RUN_US:
                enqueued, scheduled = event.enqueued_at, event.scheduled_at
                ready = max(enqueued, scheduled) or min(enqueued, scheduled)
                if ready:
                    if not 0 < ready <= started:
                        ready = _believed_ready(event, ready)
                    queue_waits.setdefault((namespace, queue), []).append(started - ready)
    occurred_at.sort()
    return measures


def _believed_ready(event: Event, ready: int) -> int:
    """Return when a job became ready, if ``ready``, the later of its two times, is after its start or before 1970.

    A time after the start is when the job will run again, so the other one counts. If neither is possible, return ``ready``,
    which gives an impossible wait.
    """
    enqueued, scheduled, _ = known_times(event.occurred_at, event.enqueued_at, event.scheduled_at, 0)
    before = [time for time in (enqueued, scheduled) if time and time <= event.started_at]
    return max(before, default=ready)
