"""Computes what the tables must hold for a set of events: the law (docs/law.md), implemented a second time.

It is small and slow on purpose. Every row is computed at once from *all* of its events, by ``max``, ``min``, sets and
counting. Nothing is merged step by step, and nothing is shared with ``consumers`` or ``store`` but the two pure
functions of the fingerprint, which are inputs of the law and not a part of it.

Elsewhere: how tables are read back (``tables.py``), and which events are tried (``universes.py``).
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from hashlib import blake2b
from typing import Any, NamedTuple

from derive.fingerprint import fingerprint, title

Event = dict[str, Any]
Row = tuple[Any, ...]
Tables = dict[str, Counter[Row]]
Job = tuple[str, str]
"""Namespace and id."""

# The rows of a table are tuples in this order. A digest is internal to the product: its value is not compared.
# Times are microseconds since 1970, None where the column is NULL; a map is the sorted tuple of its items.
COLUMNS: dict[str, tuple[str, ...]] = {
    "jobs": (
        *(
            "namespace",
            "job_id",
            "attempt",
            "state_rank",
            "occurred_at",
            "state",
            "worker",
            "queue",
            "max_attempts",
        ),
        *("scheduled_at", "release", "executor", "error_category", "error_type", "failure_group_id"),
        *("enqueued_at", "started_at", "source", "external_id", "root_job_id", "parent_job_id", "depth"),
        *("expected_children", "meta", "args", "args_attempt", "args_rank", "args_occurred_at", "latest_at"),
        "earliest_at",
        "is_repeated",
    ),
    "attempts": (
        *(
            "namespace",
            "job_id",
            "attempt",
            "finished_at",
            "state",
            "worker",
            "queue",
            "source",
            "max_attempts",
        ),
        *(
            "enqueued_at",
            "scheduled_at",
            "started_at",
            "external_id",
            "release",
            "executor",
            "failure_group_id",
        ),
        *(
            "error_category",
            "error_type",
            "error_message",
            "error_stacktrace",
            "error_origin",
            "error_fingerprint",
        ),
    ),
    "lineage_edges": ("namespace", "upstream_job_id", "job_id", "kind"),
    "dead_letters": (
        *(
            "topic",
            "message_id",
            "reason",
            "detail",
            "payload",
            "message_key",
            "publish_time",
            "schema_version",
        ),
    ),
    "failure_groups": (
        *("id", "namespace", "source", "error_category", "error_type", "fingerprint", "title"),
        *("occurrence_count", "job_count", "first_seen_at", "last_seen_at"),
    ),
    "failure_group_jobs": ("failure_group_id", "job_id", "last_finished_at"),
    "failure_groups_hourly": ("failure_group_id", "hour", "occurrence_count", "title"),
    "outcomes_hourly": (
        *(
            "namespace",
            "source",
            "worker",
            "queue",
            "hour",
            "completed",
            "retryable",
            "discarded",
            "cancelled",
        ),
    ),
}

RANKS = {
    **dict.fromkeys(("suspended", "scheduled", "available"), 0),
    "executing": 1,
    "retryable": 2,
    "cancelled": 3,
    "discarded": 4,
    "completed": 5,
}
FAILURES = ("retryable", "discarded")
FINISHED = ("completed", "retryable", "discarded", "cancelled")
OVER = ("completed", "discarded", "cancelled")
NO_ERROR = {"category": "", "type": "", "message": "", "stacktrace": "", "origin": "", "fingerprint": ""}
HOUR_US = 60 * 60 * 1_000_000
MINUTE_US = 60 * 1_000_000
DAY_US = 24 * HOUR_US
FARTHEST_US = {
    "enqueued_at": (3653 * DAY_US, HOUR_US // 12),
    "scheduled_at": (3653 * DAY_US, 3653 * DAY_US),
    "started_at": (366 * DAY_US, HOUR_US // 12),
}
"""How far before and after `occurred_at` each of the other times may be."""
_PUBLISHED = COLUMNS["dead_letters"].index("publish_time")


class Group(NamedTuple):
    """The fields that put two failures into one failure group."""

    namespace: str
    source: str
    category: str
    type: str
    fingerprint: str

    def id(self) -> uuid.UUID:
        return uuid.UUID(bytes=blake2b("\0".join(self).encode(), digest_size=16).digest())


def oracle(
    events: Iterable[Event], dead_letters: Iterable[Row] = (), horizon_us: int | None = None
) -> Tables:
    """Return the rows of every table for these events, in any order and with any duplicates.

    ``horizon_us``: events that occurred before it, and dead letters published before it, leave no trace; None keeps
    all. ``dead_letters``: rows in the order of their columns.
    """
    kept = _since(events, horizon_us)
    return _tables(kept, kept, dead_letters, horizon_us)


def oracle_after_retention(
    before: Iterable[Event],
    after: Iterable[Event],
    dead_letters: Iterable[Row],
    horizons_us: tuple[int, int | None],
    first_horizon_us: int | None = None,
) -> Tables:
    """Return the rows of every table if ``before`` came before retention advanced the horizons, and ``after`` after it.

    ``horizons_us``: the final horizon, and the final horizon of open jobs; ``first_horizon_us``: the horizon before
    retention. A run is kept or removed as a whole. A later event that is older than the horizon changes only jobs that
    were kept, and only if it is not older than all known events of the job. For attempts, counts and dead letters only
    the time matters.
    """
    horizon_us, _ = horizons_us
    known = grouped(_since(before, first_horizon_us), _job)
    run_of = runs(known)
    living = {run_of[job] for job, events in known.items() if not is_expired(events, horizons_us)}
    kept = {job: events for job, events in known.items() if run_of[job] in living}
    reaching = {job: min(event["occurred_at"] for event in events) for job, events in kept.items()}
    after = list(after)
    effective = [event for events in kept.values() for event in events]
    effective += [e for e in after if e["occurred_at"] >= min(horizon_us, reaching.get(_job(e), horizon_us))]
    counted = _since([*(event for events in known.values() for event in events), *after], horizon_us)
    return _tables(effective, counted, dead_letters, horizon_us)


def _since(events: Iterable[Event], horizon_us: int | None) -> list[Event]:
    return [event for event in events if horizon_us is None or event["occurred_at"] >= horizon_us]


def _tables(
    effective: list[Event], counted: list[Event], dead_letters: Iterable[Row], horizon_us: int | None
) -> Tables:
    """Return the rows: jobs and edges from the events ``effective``, attempts and aggregates from ``counted``."""
    letters = {
        letter
        for letter in map(tuple, dead_letters)
        if horizon_us is None or letter[_PUBLISHED] >= horizon_us
    }
    # Two ends that differ are two ends, even if neither time is possible.
    ends = list({_attempt_row(event): event for event in counted if event["state"] in FINISHED}.values())
    return {
        "jobs": Counter(job_row(those) for those in grouped(effective, _job).values()),
        "attempts": Counter(_attempt_row(believed(event)) for event in ends),
        "lineage_edges": Counter({edge for event in effective for edge in edges_of(event)}),
        "dead_letters": Counter(letters),
        **_aggregates(ends),
    }


def _job(event: Event) -> Job:
    return event["namespace"], event["job_id"]


def is_expired(events: list[Event], horizons_us: tuple[int, int | None]) -> bool:
    """Return whether no event of this job is from after the horizon, and no further one is expected."""
    horizon_us, open_horizon_us = horizons_us
    row = named_row(events)
    if row["latest_at"] >= horizon_us:
        return False
    if row["state"] in OVER:
        return True
    heard_of = max(row["latest_at"], row["scheduled_at"] or row["latest_at"])
    return open_horizon_us is not None and heard_of < open_horizon_us


def runs(known: dict[Job, list[Event]]) -> dict[Job, frozenset[Job]]:
    """Map each job to all names that belong to its run.

    A job belongs to the same run as the root that it names; if it names none, as its parents. The relation is transitive:
    if a name belongs to one of two connected names, it belongs to both.
    """
    run_of: dict[Job, frozenset[Job]] = {}
    for job, events in known.items():
        root = named_row(events)["root_job_id"]
        spawned_by = {edge[1] for event in events for edge in edges_of(event) if edge[3] == "spawned"}
        names = {job, *((job[0], name) for name in ([root] if root else spawned_by))}
        whole = frozenset(names.union(*(run_of.get(name, ()) for name in names)))
        run_of.update(dict.fromkeys(whole, whole))
    return run_of


def believed(event: Event) -> Event:
    """Return the event with its impossible times, judged by when it occurred, set to not known."""
    distances = {name: event[name] - event["occurred_at"] for name in FARTHEST_US}
    cannot_be = {
        name: 0 for name, us in distances.items() if not -FARTHEST_US[name][0] <= us <= FARTHEST_US[name][1]
    }
    return {**event, **cannot_be}


def grouped(items: Iterable[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    """Return the items by their key."""
    groups: dict[Any, list[Any]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def _error(event: Event) -> dict[str, str]:
    return event["error"] or NO_ERROR


def group_of(event: Event) -> Group | None:
    """Return the failure group of an end; None if it is not a failure."""
    if event["state"] not in FAILURES:
        return None
    error = _error(event)
    mark = error["fingerprint"] or fingerprint(error["type"], error["message"], error["origin"], "")
    return Group(event["namespace"], event["source"], error["category"], error["type"], mark)


def _known(time_us: int) -> int | None:
    return time_us if time_us != 0 else None


def _least(values: Iterable[Any], unknown: Any) -> Any:
    return min((value for value in values if value != unknown), default=None)


def _version(event: Event) -> Row:
    group = group_of(event)
    return (
        event["attempt"],
        RANKS[event["state"]],
        event["occurred_at"],
        *(event[name] for name in ("state", "worker", "queue", "max_attempts")),
        (event["scheduled_at"] != 0, event["scheduled_at"]),
        *(event[name] for name in ("release", "executor")),
        *(_error(event)[name] for name in ("category", "type")),
        group.id().bytes if group else b"",
    )


def job_row(events: list[Event]) -> Row:
    """Return the row of `jobs` for the events of one job."""
    events = [believed(event) for event in events]
    winner = max(events, key=_version)
    group = group_of(winner)
    same_attempt = [event for event in events if event["attempt"] == winner["attempt"]]
    root, parent, depth = min(
        ((e["root_job_id"], e["parent_job_id"], e["depth"]) for e in events),
        key=lambda place: (place[0] == "", place[0], place[1] == "", place[1], place[2] == -1, place[2]),
    )
    args, *args_version = max(
        ((e["args"], e["attempt"], RANKS[e["state"]], e["occurred_at"]) for e in events if e["args"] != ""),
        key=lambda brought: (*brought[1:], brought[0]),
        default=(None, None, None, None),
    )
    return (
        *(
            winner["namespace"],
            winner["job_id"],
            winner["attempt"],
            RANKS[winner["state"]],
            winner["occurred_at"],
        ),
        *(winner["state"], winner["worker"], winner["queue"], winner["max_attempts"]),
        *(_known(winner["scheduled_at"]), winner["release"], winner["executor"]),
        *(_error(winner)["category"], _error(winner)["type"], group and group.id()),
        _least((event["enqueued_at"] for event in same_attempt), 0),
        _least((event["started_at"] for event in same_attempt), 0),
        _least((event["source"] for event in events), ""),
        _least((event["external_id"] for event in events), ""),
        *(root, parent, depth),
        _merged((event["expected_children"] for event in events), max),
        _merged((event["meta"] for event in events), min),
        *(args, *args_version),
        max(event["occurred_at"] for event in events),
        min(event["occurred_at"] for event in events),
        True if is_repeated(same_attempt) else None,
    )


def named_row(events: list[Event]) -> dict[str, Any]:
    """Return the row of `jobs` for the events of one job, by column."""
    return dict(zip(COLUMNS["jobs"], job_row(events), strict=True))


def is_repeated(events: list[Event]) -> bool:
    """Return whether these events of one attempt have two ends, or an execution more than a minute after its end."""
    ends = ends_of(events)
    starts = [event["occurred_at"] for event in events if event["state"] == "executing"]
    return len(ends) > 1 or any(start - end > MINUTE_US for start in starts for _, end in ends)


def ends_of(events: Iterable[Event]) -> set[tuple[str, int]]:
    """Return the ends of one attempt as state and time, which distinguish two ends."""
    return {(event["state"], event["occurred_at"]) for event in events if event["state"] in FINISHED}


def reused_ids(events: Iterable[Event]) -> set[Row]:
    """Return namespace and id of the jobs whose id was used again, as far as the tables should show it."""
    by_job = grouped(events, _job)
    return {job for job, those in by_job.items() if is_reused(those)}


def is_reused(events: list[Event]) -> bool:
    """Return whether these events of one job show that its id was used again."""
    winner = max(events, key=_version)
    by_attempt = grouped(events, lambda event: event["attempt"])
    if is_repeated(by_attempt[winner["attempt"]]):
        return True
    latest = max(event["occurred_at"] for event in events)
    if latest - winner["occurred_at"] <= MINUTE_US:
        return False
    ended_last = [those for those in by_attempt.values() if any(at == latest for _, at in ends_of(those))]
    if ended_last:
        return any(len(ends_of(those)) > 1 for those in ended_last)
    return winner["state"] in OVER


def _merged(maps: Iterable[dict[str, Any]], choose: Callable[[list[Any]], Any]) -> Row | None:
    values = grouped((item for one in maps for item in one.items()), lambda item: item[0])
    return (
        tuple(sorted((key, choose([value for _, value in items])) for key, items in values.items())) or None
    )


def _attempt_row(event: Event) -> Row:
    group = group_of(event)
    error = event["error"]
    return (
        *(
            event[name]
            for name in ("namespace", "job_id", "attempt", "occurred_at", "state", "worker", "queue")
        ),
        *(event["source"], event["max_attempts"]),
        *(_known(event[name]) for name in ("enqueued_at", "scheduled_at", "started_at")),
        *(event[name] for name in ("external_id", "release", "executor")),
        group and group.id(),
        *((error[name] for name in NO_ERROR) if error is not None else [None] * len(NO_ERROR)),
    )


def edges_of(event: Event) -> set[Row]:
    """Return the edges that one event names."""
    namespace, job = event["namespace"], event["job_id"]
    spawned = {(namespace, event["parent_job_id"], job, "spawned")}
    depends = {(namespace, upstream, job, "depends_on") for upstream in event["depends_on"]}
    return {edge for edge in spawned | depends if edge[1] not in ("", job)}


def _aggregates(ends: list[Event]) -> Tables:
    """Return the aggregates over the set of finished attempts, given as distinct ends."""
    failures = [event for event in ends if group_of(event)]
    return {
        "failure_groups": Counter(_group_row(g, those) for g, those in grouped(failures, group_of).items()),
        "failure_group_jobs": Counter(
            (group.id(), job, max(e["occurred_at"] for e in those))
            for (group, job), those in grouped(failures, lambda e: (group_of(e), e["job_id"])).items()
        ),
        "failure_groups_hourly": Counter(
            (group.id(), hour, len(those), min(map(_title, those)))
            for (group, hour), those in grouped(failures, lambda e: (group_of(e), _hour(e))).items()
        ),
        "outcomes_hourly": Counter(
            (*key, *(sum(event["state"] == state for event in those) for state in FINISHED))
            for key, those in grouped(
                ends, lambda e: (e["namespace"], e["source"], e["worker"], e["queue"], _hour(e))
            ).items()
        ),
    }


def _title(failure: Event) -> str:
    error = _error(failure)
    return title(error["type"], error["message"], error["origin"])


def _hour(event: Event) -> int:
    return int(event["occurred_at"]) // HOUR_US * HOUR_US


def _group_row(group: Group, failures: list[Event]) -> Row:
    times = [event["occurred_at"] for event in failures]
    return (
        *(group.id(), *group),
        min(map(_title, failures)),
        *(len(failures), len({event["job_id"] for event in failures})),
        *(min(times), max(times)),
    )
