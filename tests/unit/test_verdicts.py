"""The rule of the verdicts, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from store.answers.verdicts import (
    Kind,
    StageFacts,
    StuckRule,
    describe_lost,
    duration,
    find_stuck,
    judge,
    longest_allowed_seconds,
    worst,
)

NOW = datetime(2026, 11, 22, 21, 0, tzinfo=UTC)
RULE = StuckRule(floor_seconds=300, lost_floor_seconds=3_600, lost_without_history_seconds=86_400)
READY = StageFacts(ready=115, oldest_ready_at=NOW - timedelta(minutes=6), waiting=115)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def test_jobs_that_wait_while_none_executes_are_stuck_for_the_given_reason() -> None:
    found = find_stuck(READY, NOW, RULE)
    assert found is not None
    assert (found.since, found.for_seconds) == (ago(minutes=6), 360.0)
    assert (found.waiting, found.executing, found.lost) == (115, 0, 0)
    assert found.rule == "115 waiting, none executing, no change for 6 min (its pace explains 5 min)"
    assert judge(READY, NOW, RULE) == "stuck"


def test_nothing_is_stuck_before_the_floor() -> None:
    assert judge(replace(READY, oldest_ready_at=ago(seconds=300)), NOW, RULE) == "at_work"
    assert judge(replace(READY, oldest_ready_at=ago(seconds=300.1)), NOW, RULE) == "stuck"


def test_a_stage_where_no_job_is_open_is_over() -> None:
    assert judge(StageFacts(), NOW, RULE) == "over"


def test_a_stage_whose_jobs_all_wait_rightly_is_waiting() -> None:
    assert judge(replace(READY, ready=0, oldest_ready_at=None), NOW, RULE) == "waiting"


def test_one_job_that_executes_keeps_a_stage_from_being_stuck() -> None:
    assert judge(replace(READY, executing=3, last_movement_at=ago(minutes=50)), NOW, RULE) == "at_work"


def test_a_stage_with_jobs_at_work_and_lost_ones_has_the_verdict_lost() -> None:
    assert judge(replace(READY, executing=3, lost=1), NOW, RULE) == "lost"
    assert judge(StageFacts(executing=3, lost=3), NOW, RULE) == "lost"


def test_a_stage_whose_executing_jobs_are_all_lost_while_others_are_ready_is_stuck() -> None:
    lost = replace(READY, executing=2, lost=2, last_movement_at=ago(hours=2))
    found = find_stuck(lost, NOW, RULE)
    assert found is not None
    assert (found.executing, found.lost, found.since) == (0, 2, ago(minutes=6))
    assert "none executing (2 lost)" in found.rule
    assert judge(lost, NOW, RULE) == "stuck"


def test_a_job_may_take_ten_times_as_long_as_the_longest_of_its_kind() -> None:
    assert longest_allowed_seconds(Kind(completed=2, longest_seconds=3 * 3_600.0), RULE) == 30 * 3_600.0


def test_no_job_is_lost_before_the_floor_however_short_the_others_were() -> None:
    assert longest_allowed_seconds(Kind(completed=9, longest_seconds=0.5), RULE) == 3_600.0


def test_a_job_of_a_kind_that_never_completed_has_a_day() -> None:
    assert longest_allowed_seconds(Kind(), RULE) == 86_400.0
    assert longest_allowed_seconds(Kind(completed=1, longest_seconds=60.0), RULE) == 3_600.0


def test_short_failures_do_not_show_how_long_a_job_takes() -> None:
    """Nine attempts were discarded after 0.1 s, but the tenth job may still take hours."""
    assert longest_allowed_seconds(Kind(completed=0, longest_seconds=0.1), RULE) == 86_400.0


def test_a_long_failure_gives_its_kind_more_than_a_day() -> None:
    assert longest_allowed_seconds(Kind(completed=0, longest_seconds=86_400.0), RULE) == 864_000.0


def test_durations_of_earlier_runs_count_too() -> None:
    assert Kind(1, 60.0) + Kind(4, 30.0) == Kind(5, 60.0)
    assert Kind() + Kind(2, 30.0) == Kind(2, 30.0)


def test_the_reason_of_lost_jobs_has_their_duration_and_that_of_their_kind() -> None:
    one = describe_lost(1, ago(days=3), Kind(2, 60.0), NOW)
    assert (one.jobs, one.since, one.for_seconds) == (1, ago(days=3), 259_200.0)
    assert one.rule == "executing for 3 d, the longest of its kind took 1 min"
    more = describe_lost(2, ago(days=3), Kind(), NOW)
    assert more.rule == "executing for up to 3 d, how long its kind takes is not known"


def test_the_verdict_of_a_run_is_the_worst_of_its_stages() -> None:
    assert worst({"over", "at_work", "lost"}) == "lost"
    assert worst({"lost", "stuck"}) == "stuck"
    assert worst({"over", "waiting"}) == "waiting"
    assert worst(set()) is None


def test_a_start_or_an_end_is_a_change() -> None:
    assert judge(replace(READY, last_movement_at=ago(minutes=1)), NOW, RULE) == "at_work"


def test_a_stage_that_only_grows_is_stuck_since_its_oldest_job_began_to_wait() -> None:
    grown = replace(READY, ready=10_000, oldest_ready_at=ago(hours=1), last_movement_at=ago(hours=2))
    found = find_stuck(grown, NOW, RULE)
    assert found is not None
    assert found.since == ago(hours=1)


def test_its_own_pace_explains_a_longer_pause() -> None:
    assert find_stuck(replace(READY, usual_wait_seconds=121.0), NOW, RULE) is None
    assert find_stuck(replace(READY, usual_gap_seconds=121.0), NOW, RULE) is None
    assert (
        find_stuck(replace(READY, usual_gap_seconds=119.0, usual_wait_seconds=119.0), NOW, RULE) is not None
    )


def test_a_publisher_whose_clock_is_ahead_makes_nothing_stuck() -> None:
    assert judge(replace(READY, oldest_ready_at=NOW + timedelta(days=1)), NOW, RULE) == "at_work"


@given(
    gap=st.none() | st.floats(0, 1e6),
    wait=st.none() | st.floats(0, 1e6),
    waited=st.floats(0, 1e6),
    lost=st.integers(0, 2),
    executing=st.integers(0, 2),
)
def test_knowing_the_pace_never_makes_a_stage_stuck(
    gap: float | None, wait: float | None, waited: float, lost: int, executing: int
) -> None:
    """So the pace is only needed for a stage that the floors alone would call stuck."""
    facts = replace(
        READY, oldest_ready_at=ago(seconds=waited), executing=executing, lost=min(lost, executing)
    )
    if find_stuck(facts, NOW, RULE) is None:
        paced = replace(facts, usual_gap_seconds=gap, usual_wait_seconds=wait)
        assert find_stuck(paced, NOW, RULE) is None


def test_durations_are_written_as_people_say_them() -> None:
    expected = {
        0: "0 s",
        2.5: "2.5 s",
        59: "59 s",
        60: "1 min",
        400: "6 min",
        7_199: "119 min",
        7_200: "2 h",
        200_000: "2 d",
    }
    assert {seconds: duration(seconds) for seconds in expected} == expected
