"""The oracle itself, with a story that a person can check: one morning of the incident."""

from collections import Counter

from derive.fingerprint import fingerprint
from tests.law.events import NOT_READY, event, not_ready
from tests.law.oracle import COLUMNS, Event, Group, Row, oracle
from tests.law.tables import difference

HOUR = 3_600_000_000
NINE = 1_774_774_800_000_000  # 2026-03-29T09:00:00Z
SYNC = {"root_job_id": "s", "depth": 0}
PAGE = {"root_job_id": "s", "parent_job_id": "s", "depth": 1}
SHOW = {"root_job_id": "s", "parent_job_id": "p", "depth": 2, "source": "kino-krakow"}
STORY = [
    event("s", "SyncJob", "executing", NINE, **SYNC, expected_children={"MoviePageJob": 2}, args="{}"),
    event("s", "SyncJob", "executing", NINE + 1, **SYNC, expected_children={"MoviePageJob": 3}),
    event("s", "SyncJob", "completed", NINE + 9, **SYNC, started_at=NINE, meta={"k": "b"}),
    event("p", "MoviePageJob", "available", NINE + 2, **PAGE, enqueued_at=NINE + 2, source="b"),
    event("p", "MoviePageJob", "retryable", NINE + 5, started_at=NINE + 3, error=not_ready()),
    event("p", "MoviePageJob", "executing", NINE + 4, attempt=2, started_at=NINE + 4, source="a"),
    event(
        "x", "ShowtimeProcessJob", "discarded", NINE + 7, **SHOW, error=not_ready(), external_id="movie:17"
    ),
    event(
        "x", "ShowtimeProcessJob", "discarded", NINE + HOUR, **SHOW, error=not_ready("film 4711 is not ready")
    ),
    event(
        "y",
        "ShowtimeProcessJob",
        "discarded",
        NINE + 8,
        **SHOW,
        error=not_ready(),
        depends_on=["x", "y", "x"],
    ),
    event("y", "ShowtimeProcessJob", "cancelled", NINE + 6, **SHOW),
]


def rows(table: str, *columns: str, events: list[Event] | None = None) -> set[Row]:
    """Return these columns of a table, as computed from the story."""
    found = oracle(STORY if events is None else events)[table]
    indexes = [COLUMNS[table].index(column) for column in columns]
    return {tuple(row[index] for index in indexes) for row in found}


def test_the_greatest_attempt_wins_then_the_rank_then_the_time() -> None:
    assert rows("jobs", "job_id", "attempt", "state", "occurred_at") == {
        ("s", 1, "completed", NINE + 9),
        ("p", 2, "executing", NINE + 4),  # although the end of its first attempt was reported later
        ("x", 1, "discarded", NINE + HOUR),
        ("y", 1, "discarded", NINE + 8),
    }


def test_the_latest_time_of_a_job_may_be_that_of_any_event() -> None:
    assert rows("jobs", "job_id", "latest_at") == {
        ("s", NINE + 9),
        ("p", NINE + 5),  # the end of its first attempt, reported after the second had begun
        ("x", NINE + HOUR),
        ("y", NINE + 8),
    }


def test_a_value_beats_none_and_the_lesser_of_two_wins() -> None:
    assert rows("jobs", "job_id", "source", "external_id", "parent_job_id", "depth") == {
        ("s", None, None, "", 0),
        ("p", "a", None, "s", 1),
        ("x", "kino-krakow", "movie:17", "p", 2),
        ("y", "kino-krakow", None, "p", 2),
    }


def test_times_of_an_earlier_attempt_do_not_count() -> None:
    assert rows("jobs", "job_id", "enqueued_at", "started_at") >= {("p", None, NINE + 4), ("s", None, NINE)}


def test_an_impossible_time_is_not_known() -> None:
    """Go's zero time, milliseconds instead of microseconds, a start after the end. The digest still distinguishes such ends."""
    year_1 = -62_135_596_800_000_000
    events = [
        event("a", "SyncJob", "completed", NINE, enqueued_at=year_1, scheduled_at=year_1, started_at=year_1),
        event("a", "SyncJob", "completed", NINE, started_at=NINE // 1000),
        event("b", "SyncJob", "executing", NINE, started_at=NINE + HOUR, enqueued_at=NINE - 1, scheduled_at=NINE + HOUR),
        event("b", "SyncJob", "executing", NINE, started_at=year_1),
    ]  # fmt: skip
    assert rows("jobs", "job_id", "enqueued_at", "scheduled_at", "started_at", events=events) == {
        ("a", None, None, None),
        ("b", NINE - 1, NINE + HOUR, None),
    }
    assert list(oracle(events)["attempts"].values()) == [2]


def test_maps_merge_key_by_key_and_args_come_with_their_version() -> None:
    columns = ("job_id", "expected_children", "meta", "args", "args_rank", "args_occurred_at")
    assert rows("jobs", *columns) >= {("s", (("MoviePageJob", 3),), (("k", "b"),), "{}", 1, NINE)}


def test_every_distinct_end_is_an_attempt() -> None:
    assert rows("attempts", "job_id", "attempt", "state", "finished_at") == {
        ("s", 1, "completed", NINE + 9),
        ("p", 1, "retryable", NINE + 5),
        ("x", 1, "discarded", NINE + 7),
        ("x", 1, "discarded", NINE + HOUR),
        ("y", 1, "discarded", NINE + 8),
        ("y", 1, "cancelled", NINE + 6),
    }


def test_an_edge_is_stored_once_and_never_from_a_job_to_itself() -> None:
    assert oracle(STORY)["lineage_edges"] == Counter(
        [
            ("kino", "s", "p", "spawned"),
            ("kino", "p", "x", "spawned"),
            ("kino", "p", "y", "spawned"),
            ("kino", "x", "y", "depends_on"),
        ]
    )


def test_failures_of_one_kind_are_one_group_per_source() -> None:
    mark = fingerprint("NotReady", NOT_READY, "showtimes:process", "")
    group = Group("kino", "kino-krakow", "movie_not_ready", "NotReady", mark)
    other = group._replace(source="")
    columns = ("id", "occurrence_count", "job_count", "first_seen_at", "last_seen_at")
    assert rows("failure_groups", *columns) == {
        (group.id(), 3, 2, NINE + 7, NINE + HOUR),
        (other.id(), 1, 1, NINE + 5, NINE + 5),
    }
    assert oracle(STORY)["failure_groups_hourly"] == Counter(
        [
            (group.id(), NINE, 2, "film <n> is not ready"),
            (group.id(), NINE + HOUR, 1, "film <n> is not ready"),
            (other.id(), NINE, 1, "film <n> is not ready"),
        ]
    )
    assert rows("failure_group_jobs", "failure_group_id", "job_id", "last_finished_at") == {
        (group.id(), "x", NINE + HOUR),
        (group.id(), "y", NINE + 8),
        (other.id(), "p", NINE + 5),
    }


def test_outcomes_count_ends_by_the_hour() -> None:
    assert rows(
        *("outcomes_hourly", "source", "worker", "hour", "completed", "retryable", "discarded", "cancelled")
    ) == {
        ("", "SyncJob", NINE, 1, 0, 0, 0),
        ("", "MoviePageJob", NINE, 0, 1, 0, 0),
        ("kino-krakow", "ShowtimeProcessJob", NINE, 0, 0, 2, 1),
        ("kino-krakow", "ShowtimeProcessJob", NINE + HOUR, 0, 0, 1, 0),
    }


def test_order_and_duplicates_do_not_matter() -> None:
    assert not difference(oracle(STORY), oracle([*reversed(STORY), *STORY]))


def test_an_event_before_the_horizon_leaves_no_trace() -> None:
    late = [one for one in STORY if one["occurred_at"] >= NINE + 8]
    assert not difference(oracle(STORY, horizon_us=NINE + 8), oracle(late))
    assert late


def test_a_difference_names_table_row_and_column() -> None:
    without_the_end = [one for one in STORY if one["occurred_at"] != NINE + 9]
    lines = difference(oracle(STORY), oracle(without_the_end))
    assert "jobs('kino', 's').state: expected 'completed', found 'executing'" in lines
    assert any(line.startswith(f"attempts('kino', 's', 1, {NINE + 9}) is missing") for line in lines)
    backwards = difference(oracle(without_the_end), oracle(STORY))
    assert any(
        line.startswith(f"attempts('kino', 's', 1, {NINE + 9}) should not be there") for line in backwards
    )


def test_events_may_come_from_an_iterator() -> None:
    """It can be read only once."""
    assert not difference(oracle(STORY), oracle(iter(STORY)))
