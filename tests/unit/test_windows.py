"""Sliding windows, tested with a clock set by hand, and compared with counting the list of events."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.metrics.windows import Window, bucket_seconds

NOON = 1_790_000_000 - 1_790_000_000 % 86_400 + 12 * 3600
LENGTH, BUCKET = 300, 5


def five_minutes() -> Window[str]:
    window: Window[str] = Window(LENGTH, BUCKET)
    window.advance(NOON)
    return window


def counted(events: list[tuple[int, str]], now: int) -> dict[str, int]:
    """Count by the rule itself: the current bucket, and the buckets that overlap the window before it."""
    shown: dict[str, int] = {}
    for at, key in events:
        if now // BUCKET - LENGTH // BUCKET <= at // BUCKET <= now // BUCKET:
            shown[key] = shown.get(key, 0) + 1
    return shown


def nonzero(window: Window[str]) -> dict[str, int]:
    return {key: count for key, count in window.counts().items() if count}


def test_an_event_leaves_when_its_window_has_passed_even_without_other_events() -> None:
    """Its key stays, with the value 0."""
    window = five_minutes()
    window.add(NOON, "a", 3)
    window.advance(NOON + LENGTH)
    assert window.counts() == {"a": 3}
    window.advance(NOON + LENGTH + BUCKET)
    assert window.counts() == {"a": 0}


def test_a_late_event_counts_when_it_occurred_not_when_it_arrived() -> None:
    window = five_minutes()
    window.add(NOON - 290, "a", 1)
    assert window.counts() == {"a": 1}
    window.advance(NOON + 20)
    assert window.counts() == {"a": 0}


def test_an_event_from_before_the_window_is_not_counted() -> None:
    """An import of last year's executions is not a success of today."""
    window = five_minutes()
    window.add(NOON - LENGTH - BUCKET, "a", 1)
    assert window.counts() == {}


def test_an_event_from_the_future_waits_until_its_time_has_come() -> None:
    window = five_minutes()
    window.add(NOON + 30, "a", 1)
    assert window.counts() == {}
    window.advance(NOON + 30)
    assert window.counts() == {"a": 1}


def test_a_clock_that_is_set_back_and_forth_loses_no_event_of_the_window() -> None:
    window = five_minutes()
    window.add(NOON, "a", 1)
    window.advance(NOON - 60)
    assert window.counts() == {"a": 0}
    window.advance(NOON)
    assert window.counts() == {"a": 1}


def test_a_long_silence_empties_the_window_and_its_memory() -> None:
    window = five_minutes()
    for second in range(300):
        window.add(NOON - second, "a", 1)
    window.advance(NOON + 365 * 86_400)
    assert window.counts() == {"a": 0}
    assert not window._buckets


@given(
    events=st.lists(st.tuples(st.integers(NOON - 400, NOON + 400), st.sampled_from("abc")), max_size=60),
    steps=st.lists(st.integers(0, 200), min_size=1, max_size=8),
    seed=st.integers(0, 1000),
)
def test_a_window_always_equals_counting_all_events_in_any_order(
    events: list[tuple[int, str]], steps: list[int], seed: int
) -> None:
    """Events come in any order while the clock goes on; each arrives while its window may still show it."""
    window = five_minutes()
    waiting = list(events)
    random.Random(seed).shuffle(waiting)
    now, arrived = NOON, []
    for step in steps:
        batch, waiting = waiting[: len(waiting) // 2], waiting[len(waiting) // 2 :]
        for at, key in batch:
            window.add(at, key, 1)
        arrived += batch
        assert nonzero(window) == counted(arrived, now)
        now += step
        window.advance(now)
        assert nonzero(window) == counted(arrived, now)


@given(
    events=st.lists(
        st.tuples(st.integers(NOON - 400, NOON + 60), st.integers(1, 5)), min_size=1, max_size=40
    ),
    seed=st.integers(0, 1000),
)
def test_replicas_add_up(events: list[tuple[int, int]], seed: int) -> None:
    """It does not matter which replica counts an event."""
    one, *replicas = five_minutes(), five_minutes(), five_minutes()
    choose = random.Random(seed)
    for at, count in events:
        one.add(at, "a", count)
        choose.choice(replicas).add(at, "a", count)
    for window in (one, *replicas):
        window.advance(NOON + 60)
    assert sum(window.counts().get("a", 0) for window in replicas) == one.counts().get("a", 0)


@pytest.mark.parametrize("length", [60, 300, 3600, 86_400, 61 * 60, 5 * 3600, 7 * 86_400])
def test_a_window_shows_at_most_a_sixtieth_more_than_its_length(length: int) -> None:
    bucket = bucket_seconds(length)
    assert length % bucket == 0
    assert 60 <= length // bucket <= 288


def test_the_usual_windows_move_in_steps_of_five_seconds_a_minute_and_five_minutes() -> None:
    assert [bucket_seconds(length) for length in (300, 3600, 86_400)] == [5, 60, 300]
