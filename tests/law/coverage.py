"""Counts the conflicts in the universes of a run. A law that never met a conflict proves nothing, so a zero fails the test."""

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import combinations
from typing import Any

from derive.fingerprint import title
from tests.law.oracle import (
    FINISHED,
    MINUTE_US,
    NO_ERROR,
    OVER,
    RANKS,
    Event,
    Job,
    believed,
    ends_of,
    group_of,
    grouped,
    is_expired,
    is_repeated,
    named_row,
    runs,
)
from tests.law.universes import Delivery, Universe
from tests.law.writers import Report

WAYS = {
    "rollback": "batches rolled back in mid-transaction by an error in the process",
    "terminate": "sessions terminated in mid-transaction",
    "kill": "processes killed (SIGKILL) in mid-transaction",
}
RETENTION = (
    "universes in which the horizon advanced",
    "universes in which the horizon advanced between two parts",
    "old jobs that are kept because another job of their run is newer",
    "old jobs that are kept because another job of their run is open",
    "old jobs that are kept because they are open",
    "old jobs that are kept because of their scheduled time",
    "old jobs that are kept through a job without a root",
    "open jobs without an event for too long",
    "late events of a job that was kept, not seen before",
    "late events of a job that was kept, older than all its known events",
    "late events of a job that was kept, seen before",
    "late events of a job that was removed",
    "late events of a job that was not known",
    "runs of retention killed (SIGKILL)",
    "partitions dropped",
    "attempts deleted one by one",
    "jobs removed",
    "edges removed",
)
REUSED = (
    "jobs whose attempt ended twice",
    "jobs whose attempt executes more than a minute after its only end",
    "jobs whose attempt executes within a minute after its only end",
    "jobs whose attempt ended once, and an earlier one twice",
    "jobs with a late end of an earlier attempt that ended once",
    "jobs with a late end of an earlier attempt that had ended before",
    "jobs that ended, and waited or executed more than a minute later",
    "jobs that ended, and waited or executed within a minute later",
)
FACTS = (
    "universes",
    "messages",
    "duplicates of a message",
    "events, distinct",
    "dead letters, distinct",
    "batches written",
    *WAYS.values(),
    "batches committed whose answer was lost",
    "batches delivered again",
    "writers that another one waited for",
    "jobs that two writers wrote",
    "finished attempts that two writers wrote",
    "failure groups that two writers wrote",
    "failure groups with two titles",
    "failure groups with two jobs",
    *REUSED,
    "jobs with two ends of one attempt",
    "jobs with two ends of one attempt at one time",
    "jobs with different ends whose rows are equal",
    "jobs with ends that differ only in whether there was an error",
    "jobs with events whose versions differ only in the last columns",
    "jobs with some events that lack the source",
    "jobs with two sources",
    "jobs with two values that case-folding and bytes order differently",
    "jobs whose parent, root or depth conflict",
    "jobs with two counts of expected children of one worker",
    "jobs with two args",
    "jobs whose latest state is not their latest event",
    "jobs with ties of attempt, rank and time",
    "jobs with several attempts",
    "jobs that are their own parent",
    "jobs that are each other's upstream",
    "events with an impossible time",
    "jobs with ends that differ only in impossible times",
    "events before the horizon",
    "jobs with events on both sides of the horizon",
    *RETENTION,
)


DEMANDED_FROM = {
    # In about three of a hundred universes, and in clusters: a run of two hundred may lack it.
    "jobs with ends that differ only in whether there was an error": 1_000,
    # A horizon advances in most universes, and then retention deletes rows.
    **dict.fromkeys(RETENTION, 200),
    # In five to ten of a hundred universes, and in clusters.
    "jobs with events whose versions differ only in the last columns": 1_000,
    "jobs with two values that case-folding and bytes order differently": 1_000,
    "jobs whose attempt executes within a minute after its only end": 1_000,
    "jobs whose attempt ended once, and an earlier one twice": 1_000,
    "jobs with a late end of an earlier attempt that ended once": 1_000,
    "jobs with a late end of an earlier attempt that had ended before": 1_000,
    "jobs that ended, and waited or executed within a minute later": 1_000,
    # These need several conditions in one universe.
    "old jobs that are kept because another job of their run is newer": 1_000,
    "old jobs that are kept because another job of their run is open": 1_000,
    "old jobs that are kept because of their scheduled time": 1_000,
    "old jobs that are kept through a job without a root": 1_000,
    "open jobs without an event for too long": 1_000,
    "late events of a job that was kept, older than all its known events": 1_000,
}
"""Facts that a run with fewer universes may lack."""


class Coverage:
    """Counts of FACTS, over the universes of a run."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.counts: Counter[str] = Counter()

    def add(self, universe: Universe, results: list[tuple[Delivery, Report]]) -> None:
        """Count what this universe contained, and how its deliveries ended."""
        self.counts.update(_of_the_deliveries(universe, results))
        self.counts.update(_of_the_events(universe))
        self.counts.update(_of_the_runs(universe))

    def missing(self, universes: int) -> list[str]:
        """Return the facts with a count of zero, among those that a run of this many universes must meet."""
        return [fact for fact in FACTS if self.counts[fact] == 0 and universes >= DEMANDED_FROM.get(fact, 0)]

    def lines(self) -> list[str]:
        return [f"{self.counts[fact]:>9,}  {fact}" for fact in FACTS]


APART = ("parent_job_id", "root_job_id", "depth", "depends_on", "expected_children", "args", "meta")
"""The fields of an event that the row of a finished attempt does not keep."""

REPORTS: list[Coverage] = []
"""The counts of this session, for the summary at its end."""


def _of_the_deliveries(universe: Universe, results: list[tuple[Delivery, Report]]) -> Iterable[str]:
    yield "universes"
    if universe.retentions:
        yield "universes in which the horizon advanced"
    if universe.plans_after is not None:
        yield "universes in which the horizon advanced between two parts"
    messages = [event for delivery in universe.deliveries for event in delivery.events]
    yield from ["messages"] * len(messages)
    yield from ["events, distinct"] * len(_distinct(messages))
    yield from ["duplicates of a message"] * (len(messages) - len(_distinct(messages)))
    yield from ["dead letters, distinct"] * len(set(universe.dead_letters))
    for _, report in results:
        if report.committed and report.outcome != "written":
            yield "batches committed whose answer was lost"
        elif report.outcome in WAYS:
            yield WAYS[report.outcome]
        if report.outcome == "written":
            yield "batches written"
        else:
            yield "batches delivered again"
        if report.waited_for_by:
            yield "writers that another one waited for"


def _of_the_events(universe: Universe) -> Iterable[str]:
    kept = [
        e for e in universe.events if universe.horizon_us is None or e["occurred_at"] >= universe.horizon_us
    ]
    yield from ["events with an impossible time"] * sum(believed(event) != event for event in kept)
    yield from ["events before the horizon"] * (len(universe.events) - len(kept))
    yield from ["jobs with events on both sides of the horizon"] * len(
        set(map(_job, kept)) & {_job(event) for event in universe.events if event not in kept}
    )
    by_writer = [[event for delivery in plan for event in delivery.events] for plan in universe.plans]
    yield from ["jobs that two writers wrote"] * _shared(by_writer, _job)
    yield from ["finished attempts that two writers wrote"] * _shared(by_writer, _end)
    yield from ["failure groups that two writers wrote"] * _shared(by_writer, group_of)
    for group in {group_of(event) for event in kept} - {None}:
        failures = [event for event in kept if group_of(event) == group]
        if len({event["job_id"] for event in failures}) > 1:
            yield "failure groups with two jobs"
        if len(_titles(failures)) > 1:
            yield "failure groups with two titles"
    edges = {
        ((e["namespace"], upstream), _job(e))
        for e in kept
        for upstream in [e["parent_job_id"], *e["depends_on"]]
    }
    yield from ["jobs that are their own parent"] * len(
        {_job(e) for e in kept if e["parent_job_id"] == e["job_id"]}
    )
    yield from ["jobs that are each other's upstream"] * sum(
        (job, up) in edges and up < job for up, job in edges
    )
    for job in {_job(event): None for event in kept}:
        yield from _of_a_job([event for event in kept if _job(event) == job])


def _of_the_runs(universe: Universe) -> Iterable[str]:
    """Yield what happened to old jobs if retention ran between two parts."""
    horizon, open_horizon = universe.last_horizon_us, universe.last_open_horizon_us
    if universe.plans_after is None or horizon is None:
        return
    first = universe.horizon_us
    before, after = (
        _distinct([event for plan in plans for delivery in plan for event in delivery.events])
        for plans in (universe.plans, universe.plans_after)
    )
    jobs = grouped((e for e in before if first is None or e["occurred_at"] >= first), _job)
    run_of = runs(jobs)
    verdicts = {job: is_expired(events, (horizon, open_horizon)) for job, events in jobs.items()}
    living = {run_of[job] for job, over in verdicts.items() if not over}
    for job, over in verdicts.items():
        row = named_row(jobs[job])
        if row["latest_at"] >= horizon:
            continue
        is_open = row["state"] not in OVER
        if not over:
            yield "old jobs that are kept because they are open"
            if open_horizon is not None and row["latest_at"] < open_horizon:
                yield "old jobs that are kept because of their scheduled time"
        elif is_open:
            yield "open jobs without an event for too long"
        if over and run_of[job] in living:
            others = [named_row(jobs[other]) for other in run_of[job] if not verdicts.get(other, True)]
            if any(other["latest_at"] >= horizon for other in others):
                yield "old jobs that are kept because another job of their run is newer"
            if any(other["latest_at"] < horizon for other in others):
                yield "old jobs that are kept because another job of their run is open"
            if row["root_job_id"] == "":
                yield "old jobs that are kept through a job without a root"
    for event in after:
        if event["occurred_at"] < horizon:
            yield f"late events of a job that {_late(event, jobs, {job for job in jobs if run_of[job] in living})}"


def _late(event: Event, jobs: dict[Job, list[Event]], kept: set[Job]) -> str:
    job = _job(event)
    if job not in jobs:
        return "was not known"
    if job not in kept:
        return "was removed"
    if event in jobs[job]:
        return "was kept, seen before"
    if event["occurred_at"] < named_row(jobs[job])["earliest_at"]:
        return "was kept, older than all its known events"
    return "was kept, not seen before"


def _of_a_job(events: list[Event]) -> Iterable[str]:
    ends = _distinct([event for event in events if event["state"] in FINISHED])
    pairs = [(a, b) for a, b in combinations(ends, 2) if a["attempt"] == b["attempt"]]
    if any(_end(a) != _end(b) for a, b in pairs):
        yield "jobs with two ends of one attempt"
    if any(_end(a) != _end(b) and a["occurred_at"] == b["occurred_at"] for a, b in pairs):
        yield "jobs with two ends of one attempt at one time"
    if any(_end(a) == _end(b) for a, b in pairs):
        yield "jobs with different ends whose rows are equal"
    if any(_end(a) != _end(b) and _end(believed(a)) == _end(believed(b)) for a, b in pairs):
        yield "jobs with ends that differ only in impossible times"
    yield from _of_reuse(events)
    for name, fact in (
        ("error", "jobs with ends that differ only in whether there was an error"),
        ("executor", "jobs with events whose versions differ only in the last columns"),
    ):
        if any(_differ_only_in(name, a, b) for a, b in combinations(ends if name == "error" else events, 2)):
            yield fact
    sources = {event["source"] for event in events}
    if "" in sources and len(sources) > 1:
        yield "jobs with some events that lack the source"
    if len(sources - {""}) > 1:
        yield "jobs with two sources"
    if any(
        values and min(values) != min(values, key=lambda text: (text.casefold(), text))
        for values in ({event[name] for event in events} - {""} for name in ("source", "external_id"))
    ):
        yield "jobs with two values that case-folding and bytes order differently"
    if len({(event["root_job_id"], event["parent_job_id"], event["depth"]) for event in events}) > 1:
        yield "jobs whose parent, root or depth conflict"
    expected = {item for event in events for item in event["expected_children"].items()}
    if len(expected) > len({worker for worker, _ in expected}):
        yield "jobs with two counts of expected children of one worker"
    if len({event["args"] for event in events} - {""}) > 1:
        yield "jobs with two args"
    latest = max(_version(event) for event in events)
    if latest != max(
        (e["attempt"], RANKS[e["state"]], e["occurred_at"]) for e in events if _is_last(e, events)
    ):
        yield "jobs whose latest state is not their latest event"
    if len([event for event in _distinct(events) if _version(event) == latest]) > 1:
        yield "jobs with ties of attempt, rank and time"
    if len({event["attempt"] for event in events}) > 1:
        yield "jobs with several attempts"


def _of_reuse(events: list[Event]) -> Iterable[str]:
    winner = max(events, key=_version)
    own = [event for event in events if event["attempt"] == winner["attempt"]]
    ends = ends_of(own)
    if len(ends) > 1:
        yield REUSED[0]
        return
    if not ends:
        return
    ((_, end),) = ends
    starts = [event["occurred_at"] for event in own if event["state"] == "executing"]
    if is_repeated(own):
        yield REUSED[1]
    elif any(start > end for start in starts):
        yield REUSED[2]
    for attempt in {event["attempt"] for event in events} - {winner["attempt"]}:
        earlier = ends_of(event for event in events if event["attempt"] == attempt)
        if len(earlier) > 1:
            yield REUSED[3]
        if any(at > end + MINUTE_US for _, at in earlier):
            yield REUSED[5] if len(earlier) > 1 else REUSED[4]
    later = [e["occurred_at"] - end for e in events if e["state"] not in FINISHED and e["occurred_at"] > end]
    if later and winner["state"] in OVER:
        yield REUSED[6] if max(later) > MINUTE_US else REUSED[7]


def _differ_only_in(name: str, one: Event, other: Event) -> bool:
    """Return whether two ends differ only in this kept field; in the error: one has none, the other an empty one."""
    if name == "error" and [event["error"] for event in (one, other)].count(None) != 1:
        return False
    errors = [event["error"] or NO_ERROR for event in (one, other)]
    kept = [key for key in one if key not in APART and key not in (name, "error")]
    return errors[0] == errors[1] and one[name] != other[name] and all(one[key] == other[key] for key in kept)


def _titles(failures: list[Event]) -> set[str]:
    errors = [event["error"] or NO_ERROR for event in failures]
    return {title(error["type"], error["message"], error["origin"]) for error in errors}


def _is_last(event: Event, events: list[Event]) -> bool:
    return bool(event["occurred_at"] == max(other["occurred_at"] for other in events))


def _version(event: Event) -> tuple[int, int, int]:
    return event["attempt"], RANKS[event["state"]], event["occurred_at"]


def _job(event: Event) -> tuple[str, str]:
    return event["namespace"], event["job_id"]


def _end(event: Event) -> tuple[Any, ...] | None:
    if event["state"] not in FINISHED:
        return None
    error = event["error"] and tuple(sorted(event["error"].items()))
    return (error, *(value for name, value in sorted(event.items()) if name not in (*APART, "error")))


def _distinct(events: list[Event]) -> list[Event]:
    return [event for number, event in enumerate(events) if event not in events[:number]]


def _shared(by_writer: list[list[Event]], key: Callable[[Event], Any]) -> int:
    """Return how many keys two writers or more have; None does not count."""
    writers = Counter(one for events in by_writer for one in {key(event) for event in events} - {None})
    return sum(count > 1 for count in writers.values())
