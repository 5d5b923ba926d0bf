"""The rule of "stuck" and "lost", case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from store.answers.stuck import StageFacts, StuckRule, duration, judge

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
RULE = StuckRule(floor_seconds=300, lost_floor_seconds=3_600, lost_without_history_seconds=86_400)
WAITING = StageFacts(
    waiting=115,
    oldest_waiting_at=NOW - timedelta(minutes=6),
    executing=0,
    newest_execution_at=None,
    last_movement_at=None,
    longest_execution_seconds=None,
)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def test_jobs_that_wait_while_none_executes_are_stuck_and_the_verdict_says_why() -> None:
    found = judge(WAITING, NOW, RULE)
    assert found is not None
    assert (found.since, found.for_seconds) == (ago(minutes=6), 360.0)
    assert (found.waiting, found.executing, found.lost) == (115, 0, 0)
    assert found.rule == "115 waiting, none executing, no change for 6 min (its pace explains 5 min)"


def test_nothing_is_stuck_before_the_floor() -> None:
    assert judge(replace(WAITING, oldest_waiting_at=ago(seconds=300)), NOW, RULE) is None
    assert judge(replace(WAITING, oldest_waiting_at=ago(seconds=300.1)), NOW, RULE) is not None


def test_a_stage_without_waiting_jobs_is_not_stuck() -> None:
    assert judge(replace(WAITING, waiting=0, oldest_waiting_at=None), NOW, RULE) is None


def test_one_job_that_executes_keeps_a_stage_from_being_stuck() -> None:
    held = replace(
        WAITING, executing=3, newest_execution_at=ago(minutes=50), last_movement_at=ago(minutes=50)
    )
    assert judge(held, NOW, RULE) is None


def test_a_job_that_executes_far_longer_than_its_stage_explains_is_lost_and_does_not() -> None:
    lost = replace(
        WAITING,
        executing=2,
        newest_execution_at=ago(hours=2),
        last_movement_at=ago(hours=2),
        longest_execution_seconds=30.0,
    )
    found = judge(lost, NOW, RULE)
    assert found is not None
    assert (found.executing, found.lost, found.since) == (0, 2, ago(minutes=6))
    assert "none executing (2 lost)" in found.rule


def test_a_kind_of_job_that_takes_hours_is_given_hours() -> None:
    slow = replace(
        WAITING, executing=1, newest_execution_at=ago(hours=20), longest_execution_seconds=3 * 3_600.0
    )
    assert judge(slow, NOW, RULE) is None


def test_without_any_ended_job_only_a_day_makes_one_lost() -> None:
    executing = replace(WAITING, executing=1, newest_execution_at=ago(hours=23))
    assert judge(executing, NOW, RULE) is None
    assert judge(replace(executing, newest_execution_at=ago(hours=25)), NOW, RULE) is not None


def test_a_start_or_an_end_is_a_movement() -> None:
    assert judge(replace(WAITING, last_movement_at=ago(minutes=1)), NOW, RULE) is None


def test_a_stage_that_only_grows_is_stuck_since_its_oldest_job_began_to_wait() -> None:
    grown = replace(WAITING, waiting=10_000, oldest_waiting_at=ago(hours=1), last_movement_at=ago(hours=2))
    found = judge(grown, NOW, RULE)
    assert found is not None
    assert found.since == ago(hours=1)


def test_its_own_pace_explains_a_longer_pause() -> None:
    assert judge(replace(WAITING, usual_wait_seconds=121.0), NOW, RULE) is None
    assert judge(replace(WAITING, usual_gap_seconds=121.0), NOW, RULE) is None
    assert judge(replace(WAITING, usual_gap_seconds=119.0, usual_wait_seconds=119.0), NOW, RULE) is not None


def test_a_publisher_whose_clock_is_ahead_makes_nothing_stuck() -> None:
    assert judge(replace(WAITING, oldest_waiting_at=NOW + timedelta(days=1)), NOW, RULE) is None


@given(
    gap=st.none() | st.floats(0, 1e6),
    wait=st.none() | st.floats(0, 1e6),
    waited=st.floats(0, 1e6),
    executing=st.none() | st.floats(0, 1e6),
    longest=st.none() | st.floats(0, 1e6),
)
def test_knowing_the_pace_never_makes_a_stage_stuck(
    gap: float | None, wait: float | None, waited: float, executing: float | None, longest: float | None
) -> None:
    """So the pace need not be read for a stage that is not stuck by the floors alone."""
    facts = replace(
        WAITING,
        oldest_waiting_at=ago(seconds=waited),
        executing=0 if executing is None else 1,
        newest_execution_at=None if executing is None else ago(seconds=executing),
        longest_execution_seconds=longest,
    )
    if judge(facts, NOW, RULE) is None:
        assert judge(replace(facts, usual_gap_seconds=gap, usual_wait_seconds=wait), NOW, RULE) is None


def test_durations_are_written_as_people_say_them() -> None:
    said = {
        0: "0 s",
        2.5: "2.5 s",
        59: "59 s",
        60: "1 min",
        400: "6 min",
        7_199: "119 min",
        7_200: "2 h",
        200_000: "2 d",
    }
    assert {seconds: duration(seconds) for seconds in said} == said
