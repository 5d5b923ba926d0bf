"""Universes for the law: few events that collide on purpose, and a plan for their delivery.

A universe is a *set* of events and dead letters with a horizon. Its plan sets the order of their delivery, the duplicates,
the batches, the number of writers, and which batches fail, and how. There are few values, so that two events often have
the same job, attempt, hour or failure group. The values are hard for the layers between Python and the tables: COPY's
escapes, texts that locales order differently, zeros, equal times.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from tests.law.oracle import FAILURES, FINISHED, NO_ERROR, RANKS, Event, Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _micros(moment: datetime) -> int:
    return (moment - EPOCH) // timedelta(microseconds=1)


# The last microsecond of an hour in which Europe changes its clocks, and the times around it.
NOON = datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC)
DAY = _micros(datetime(2026, 3, 29, tzinfo=UTC))
DAY_US = 24 * 60 * 60 * 1_000_000
NEAR = [_micros(NOON + shift) for shift in (timedelta(0), timedelta(microseconds=1), timedelta(minutes=-3))]
# A minute may be the difference between two hosts' clocks; more may not.
MINUTE_LATER = [NEAR[0] + 60_000_000, NEAR[1] + 60_000_000]
FAR = [
    *(_micros(NOON + timedelta(days=days)) for days in (-1, 1, -365)),
    *(_micros(datetime(2020, 1, 1, tzinfo=UTC)), _micros(datetime(2034, 12, 31, 23, 30, tzinfo=UTC))),
    *(
        -1,
        _micros(datetime(1, 1, 1, tzinfo=UTC)),
        _micros(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)),
    ),
]
OLD = [DAY - 1, DAY - DAY_US, *FAR[::2][:2], _micros(NOON - timedelta(days=20))]
"""These are before most of the horizons."""

TIMES = [*NEAR, *NEAR, *MINUTE_LATER, *FAR, DAY, DAY - 1]
# The last possible times, and the first impossible ones, given the times above.
EARLIEST, EARLIEST_START, LATEST, LATEST_SCHEDULED = (
    [_micros(NOON + shift), _micros(NOON + shift) + beyond]
    for shift, beyond in (
        (timedelta(days=-3653), -1),
        (timedelta(days=-366), -1),
        (timedelta(minutes=5), 1),
        (timedelta(days=3653), 1),
    )
)

IMPOSSIBLE = [_micros(datetime(1, 1, 1, tzinfo=UTC)), _micros(datetime(9999, 12, 31, tzinfo=UTC))]
"""These are impossible beside every time of a stored event."""

# Pairs that bytes, UTF-16, ICU and case-folding order differently, and characters that COPY and JSON must escape.
TEXTS = [
    *("B", "a", "é", "z", "a-b", "ab", "\uff71", "\U0001f600", "A", "ä", "a\u0308", "10", "9"),
    *(
        "\\N",
        "\\.",
        "\\",
        "t\tab",
        "l\nine",
        "r\rn\n",
        "\\x41\\t",
        "quote\"'",
        "{}",
        "{1,2}",
        "NULL",
        " ",
        "a ",
    ),
]
NAMESPACES = ["kino", "kino", "Kino\\"]
JOBS = ["1", "2", "2", "é\t3"]
REUSED = ["4", "5", "6", "7"]
WORKERS = ["MoviePageJob", "moviePageJob", "z\\N"]
SOURCES = ["", "", "B", "a", "é"]
STATES = [*RANKS, "retryable", "discarded", "discarded", "completed", "executing", "cancelled"]
ERROR_FIELDS: dict[str, st.SearchStrategy[str]] = {
    "category": st.sampled_from(["", "timeout", "movie_not_ready", "é"]),
    "type": st.sampled_from(["", "TimeoutError"]),
    "message": st.sampled_from(
        ["", "film 17 is not ready", "film 4711 is not ready", "film x is not ready", "a\\N\tb\nc", "Zażółć"]
    ),
    "stacktrace": st.sampled_from(["", 'File "a.py", line 3\n  raise\\t\n']),
    "origin": st.sampled_from(["", "", "pages:fetch"]),
    "fingerprint": st.sampled_from(["", "own\\"]),
}
FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "namespace": st.sampled_from(NAMESPACES),
    "job_id": st.sampled_from(JOBS),
    "worker": st.sampled_from(WORKERS),
    "queue": st.sampled_from(["", "default", "Default"]),
    "state": st.sampled_from(STATES),
    "attempt": st.sampled_from([1, 1, 1, 2, 2, 3, 2**31 - 1]),
    "occurred_at": st.sampled_from(TIMES),
    "source": st.sampled_from(SOURCES),
    "max_attempts": st.sampled_from([0, 0, 3, 20, 2**31 - 1]),
    "enqueued_at": st.sampled_from([0, 0, *TIMES, *EARLIEST, *LATEST]),
    "scheduled_at": st.sampled_from([0, 0, -1, -1, *FAR, *FAR, *EARLIEST, *LATEST_SCHEDULED]),
    "started_at": st.sampled_from([0, 0, *TIMES, *EARLIEST_START, *LATEST]),
    "parent_job_id": st.sampled_from(["", "", *JOBS, "\\N"]),
    "root_job_id": st.sampled_from(["", "", *JOBS, "\uff71", "\U0001f600"]),
    "depth": st.sampled_from([-1, -1, 0, 1, 2]),
    "depends_on": st.lists(st.sampled_from([*JOBS, "", "x\\\n", "\\N"]), max_size=3),
    "expected_children": st.dictionaries(
        st.sampled_from(["MoviePageJob", "é\"'\\"]), st.sampled_from([0, 9, 10, 2**31 - 1]), max_size=2
    ),
    "external_id": st.sampled_from(["", "", "", *TEXTS]),
    "error": st.none() | st.just(NO_ERROR) | st.fixed_dictionaries(ERROR_FIELDS),
    "release": st.sampled_from(["", "1.9", "1.10", "\\N"]),
    "executor": st.sampled_from(["", "host:1", "Host:1"]),
    "args": st.sampled_from(["", "", '{"b": "\\n"}', '{"a": "\\\\N"}', "[é]"]),
    "meta": st.dictionaries(st.sampled_from(["k", "K", "\\"]), st.sampled_from(TEXTS), max_size=2),
}
# The fields to change in an earlier event. Some are listed more than once, because more rules concern them.
CHANGED = [
    *FIELDS,
    *(
        "args",
        "attempt",
        "error",
        "error",
        "executor",
        "external_id",
        "job_id",
        "occurred_at",
        "scheduled_at",
        "source",
        "state",
    ),
]
DEAD_LETTERS: list[Row] = [
    (
        "persistent://jobtrail/lifecycle/job-events-partition-0",
        "1:2:3:4",
        "malformed",
        "d\\N\t",
        b"",
        "",
        NEAR[0],
        0,
    ),
    # The same message id, in a topic that was created again.
    (
        "persistent://jobtrail/lifecycle/job-events-partition-0",
        "1:2:3:4",
        "malformed",
        "another",
        b"\x07",
        "",
        NEAR[1],
        0,
    ),
    (
        "persistent://jobtrail/lifecycle/job-events-partition-0",
        "1:2:3:5",
        "text",
        "é\n",
        b"\x00\\N\t\n\xff",
        "k\\",
        1,
        -1,
    ),
    (
        "persistent://jobtrail/lifecycle/job-events-partition-1",
        "1:2:3:4",
        "time",
        "",
        b"\\x00",
        "\t",
        FAR[0],
        7,
    ),
]

WAYS_TO_FAIL = ("rollback", "terminate", "kill", "lose the answer")


@dataclass(frozen=True)
class Delivery:
    """One delivery of a batch to a writer, and its fault.

    ``fault``: ``""`` (none), ``"hold"`` (the writer waits at the step until another writer waits for it) or one of
    WAYS_TO_FAIL, after which the whole batch is delivered again. ``step``: how far into the transaction, 0 to 100.
    """

    events: tuple[Event, ...]
    dead_letters: tuple[Row, ...] = ()
    fault: str = ""
    step: int = 0


@dataclass(frozen=True)
class Retention:
    """The horizon advances while writers work, and another process deletes what is older.

    ``open_horizon_us``: the horizon of open jobs, None for never. ``after``: the number of writers' answers before it;
    ``kill_at``: the step at which the process is killed, 0 for never. A killed run is started again.
    """

    horizon_us: int
    open_horizon_us: int | None
    after: int
    kill_at: int


@dataclass(frozen=True, repr=False)
class Universe:
    """A set of events, and one of the many ways in which it can reach the tables."""

    horizon_us: int | None
    events: tuple[Event, ...]
    dead_letters: tuple[Row, ...]
    plans: tuple[tuple[Delivery, ...], ...]  # one lane for each writer, all at the same time
    retentions: tuple[Retention, ...] = ()
    plans_after: tuple[tuple[Delivery, ...], ...] | None = None
    """The deliveries after the last retention, which then waits for those before it. None: retention does not wait."""

    @property
    def last_horizon_us(self) -> int | None:
        """Return the final horizon: it never moves back, whatever horizon a retention asks for."""
        asked = [retention.horizon_us for retention in self.retentions]
        if self.horizon_us is not None:
            asked.append(self.horizon_us)
        return max(asked, default=None)

    @property
    def last_open_horizon_us(self) -> int | None:
        """Return the final horizon of open jobs."""
        return max(
            (one.open_horizon_us for one in self.retentions if one.open_horizon_us is not None), default=None
        )

    def __repr__(self) -> str:
        """Return a short text for Hypothesis to print. A failure of the law prints the whole universe itself."""
        return f"<universe of {len(self.events)} events in {len(self.deliveries)} batches>"

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for plan in (*self.plans, *(self.plans_after or ())) for delivery in plan]


@st.composite
def _events(draw: st.DrawFn) -> list[Event]:
    """Draw events. Many are an earlier one with a few fields changed, so that the last column must break ties."""
    found: list[Event] = []
    for _ in range(draw(st.integers(1, 18))):
        way = draw(st.sampled_from([None, *WAYS]))
        if way is None or not found:
            found.append({name: draw(strategy) for name, strategy in FIELDS.items()})
        else:
            found += way(draw, found[draw(st.integers(0, len(found) - 1))])
    return found


def _changed(draw: st.DrawFn, earlier: Event) -> list[Event]:
    """Return the event with a few fields changed."""
    event = dict(earlier)
    for _ in range(draw(st.sampled_from([1, 1, 1, 2, 4]))):
        name = draw(st.sampled_from(CHANGED))
        if name == "error" and event["error"] is not None and draw(st.booleans()):
            part = draw(st.sampled_from(list(ERROR_FIELDS)))
            event["error"] = {**event["error"], part: draw(ERROR_FIELDS[part])}
        else:
            event[name] = draw(FIELDS[name])
    return [event]


def _failed_too(draw: st.DrawFn, earlier: Event) -> list[Event]:
    """Return another failure with the publisher's fingerprint, so that titles, times and jobs meet in one group."""
    error = {
        **(earlier["error"] or NO_ERROR),
        "fingerprint": "own\\",
        "message": draw(ERROR_FIELDS["message"]),
    }
    changed = {name: draw(FIELDS[name]) for name in ("job_id", "occurred_at")}
    return [{**earlier, **changed, "state": draw(st.sampled_from(FAILURES)), "error": error}]


def _used_again(draw: st.DrawFn, earlier: Event) -> list[Event]:
    """Return an end of a job, and an event of another run under the same id, which often has no other events."""
    job = {**earlier, "job_id": draw(st.sampled_from([earlier["job_id"], *REUSED]))}
    attempt = draw(st.sampled_from([1, 2]))
    end = {
        "state": draw(st.sampled_from([*FINISHED, "retryable", "completed"])),
        "attempt": attempt,
        "occurred_at": draw(st.sampled_from([NEAR[0], NEAR[2]])),
    }
    again = {
        "state": draw(st.sampled_from(["available", *["executing"] * 4, "completed", "retryable"])),
        "attempt": draw(st.sampled_from([attempt, attempt, 1])),
        "occurred_at": draw(st.sampled_from([*NEAR, *MINUTE_LATER])),
    }
    return [{**job, **end}, {**job, **again}]


def _spawned(draw: st.DrawFn, earlier: Event) -> list[Event]:
    """Return another job of the same run, which names the root or only its parent."""
    changed = {name: draw(FIELDS[name]) for name in ("job_id", "occurred_at", "state", "scheduled_at")}
    root = draw(st.sampled_from(["", earlier["root_job_id"] or earlier["job_id"]]))
    return [{**earlier, **changed, "parent_job_id": earlier["job_id"], "root_job_id": root}]


def _ended_twice(draw: st.DrawFn, earlier: Event) -> list[Event]:
    """Return two ends of an attempt that differ only in an impossible time."""
    end = {**earlier, "state": draw(st.sampled_from(FINISHED))}
    name = draw(st.sampled_from(["enqueued_at", "scheduled_at", "started_at"]))
    return [{**end, name: 0}, {**end, name: draw(st.sampled_from(IMPOSSIBLE))}]


# Each derives events from an earlier one.
WAYS = [*[_changed] * 4, _failed_too, *[_used_again] * 2, *[_spawned] * 2, _ended_twice]


def _aged(draw: st.DrawFn, event: Event) -> Event:
    """Move most events to before the horizon, so that there are runs to remove."""
    return {**event, "occurred_at": draw(st.sampled_from([event["occurred_at"], *OLD, *OLD]))}


@st.composite
def universes(draw: st.DrawFn) -> Universe:
    """Draw a universe with its plan. It shrinks towards one event, one batch, one writer and no fault.

    In a quarter of them, retention advances the horizon while writers work; in half of them, between two parts of the
    plan, which share some messages.
    """
    way = draw(st.sampled_from(["no retention", "meanwhile", "between", "between"]))
    events = draw(_events())
    if way == "between" and draw(st.booleans()):
        events = [_aged(draw, event) for event in events]
    dead_letters = draw(st.lists(st.sampled_from(DEAD_LETTERS), max_size=2))
    messages = draw(st.permutations(range(-len(dead_letters), len(events))))
    again = draw(st.lists(st.sampled_from(messages), max_size=8))
    writers = draw(st.sampled_from([1, 2, 3, 4, 4, 4]))
    first = draw(st.integers(1, len(messages))) if way == "between" else len(messages)
    before, after = [*messages[:first]], [*messages[first:]]
    (after if way == "between" else before).extend(again)
    return Universe(
        draw(st.sampled_from([None, DAY])),
        tuple(events),
        tuple(dead_letters),
        draw(_plans(before, events, dead_letters, writers)),
        () if way == "no retention" else tuple(draw(_retentions())),
        draw(_plans(after, events, dead_letters, writers)) if way == "between" else None,
    )


@st.composite
def _plans(
    draw: st.DrawFn, messages: list[int], events: list[Event], dead_letters: list[Row], writers: int
) -> tuple[tuple[Delivery, ...], ...]:
    """Cut these messages into batches, and share them out to the writers. A negative number is a dead letter's."""
    cuts = sorted(draw(st.sets(st.integers(1, max(len(messages) - 1, 1)), max_size=5)))
    plans: list[list[Delivery]] = [[] for _ in range(writers)]
    for number, (first, end) in enumerate(zip([0, *cuts], [*cuts, len(messages)], strict=True)):
        part = messages[first:end]
        fault = draw(st.sampled_from(["", "", "hold", "hold", "hold", *WAYS_TO_FAIL]))
        delivery = Delivery(
            tuple(events[index] for index in part if index >= 0),
            tuple(dead_letters[index] for index in part if index < 0),
            fault,
            draw(st.integers(50 if fault == "hold" else 0, 100)) if fault else 0,
        )
        plans[number % writers].append(delivery)
    return tuple(tuple(plan) for plan in plans)


@st.composite
def _retentions(draw: st.DrawFn) -> list[Retention]:
    """Draw one or two new horizons on days with many events, with the horizon of open jobs before each."""
    days = st.sampled_from([DAY - DAY_US, DAY, DAY + DAY_US])
    horizons = sorted(draw(st.sets(days, min_size=1, max_size=2)))
    longer = st.sampled_from([0, 0, 1, 30, 400, None])
    return [
        Retention(
            horizon,
            None if (days_longer := draw(longer)) is None else horizon - days_longer * DAY_US,
            draw(st.integers(0, 4)),
            draw(st.sampled_from([0, 0, 1, 2, 3, 5, 8, 13])),
        )
        for horizon in horizons
    ]
