"""Cases of the fold that the law meets too rarely, compared with the oracle's row for the same events."""

from itertools import permutations
from json import loads
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from derive.fold import fold, fold_whole_log, with_late
from derive.rows import JOB_COLUMNS
from schemas.contract import Event
from testing.examples import examples
from tests.law.oracle import COLUMNS, FARTHEST_US, job_row
from tests.law.universes import DAY, FIELDS

LEAST: dict[str, Any] = {
    "namespace": "n",
    "job_id": "1",
    "worker": "W",
    "queue": "q",
    "state": "available",
    "attempt": 1,
}


@pytest.mark.parametrize(
    ("events", "scheduled_at"),
    [
        ([{"occurred_at": -1, "scheduled_at": -1}, {"occurred_at": -1}], -1),
        ([{"occurred_at": 9, "scheduled_at": 7}, {"occurred_at": 9, "scheduled_at": 10**18}], 7),
    ],
    ids=["a known time before 1970 beats one that is not known", "and any beats one that cannot be"],
)
def test_of_two_equal_versions_the_one_with_a_known_time_wins(
    events: list[dict[str, Any]], scheduled_at: int
) -> None:
    told = [Event(**LEAST, **one) for one in events]
    expected = job_row([event._asdict() for event in told])
    for order in permutations(told):
        (row,) = fold(order).jobs
        assert dict(zip(JOB_COLUMNS, row, strict=True))["scheduled_at"] == scheduled_at
    assert dict(zip(COLUMNS["jobs"], expected, strict=True))["scheduled_at"] == scheduled_at


@pytest.mark.parametrize("name", FARTHEST_US)
def test_a_time_is_known_up_to_its_bounds_and_not_a_microsecond_farther(name: str) -> None:
    at = 1_790_000_000_000_000
    before, after = FARTHEST_US[name]
    for time, is_known in (
        (at - before, True),
        (at - before - 1, False),
        (at + after, True),
        (at + after + 1, False),
    ):
        event = Event(**{**LEAST, "occurred_at": at, name: time})
        (row,) = fold([event]).jobs
        assert dict(zip(JOB_COLUMNS, row, strict=True))[name] == (time if is_known else 0)
        expected = dict(zip(COLUMNS["jobs"], job_row([event._asdict()]), strict=True))
        assert expected[name] == (time if is_known else None)


@settings(max_examples=examples(200), deadline=None)
@given(st.lists(st.fixed_dictionaries(FIELDS), max_size=8))
def test_a_rebuild_folds_jobs_as_if_there_were_no_horizon_and_attempts_as_if_late_events_had_not_come(
    told: list[dict[str, Any]],
) -> None:
    events = [Event(**one) for one in told]
    in_time = [event for event in events if event.occurred_at >= DAY]
    whole, every, newer = fold_whole_log(events, [], DAY), fold(events), fold(in_time)
    assert sorted(map(_comparable, whole.jobs)) == sorted(map(_comparable, every.jobs))
    assert set(whole.edges) == set(every.edges)
    assert (whole.attempts, whole.groups) == (newer.attempts, newer.groups)
    assert (whole.events, whole.expired) == (len(events), len(events) - len(in_time))
    assert whole.late == []
    # An aggregator keeps late events apart, each for itself, to be taken by the jobs that are known.
    apart = fold(events, [], DAY)
    assert (apart.jobs, apart.attempts) == (newer.jobs, newer.attempts)
    assert len(apart.late) == len(events) - len(in_time)
    assert sorted(map(_comparable, with_late(apart, apart.late).jobs)) == sorted(map(_comparable, every.jobs))


def _comparable(row: Any) -> list[str]:
    """The row with its maps as sets of entries: they are JSON, whose order says nothing."""
    maps = (JOB_COLUMNS.index("expected_children"), JOB_COLUMNS.index("meta"))
    return [
        repr(sorted(loads(value).items()) if number in maps and value else value)
        for number, value in enumerate(row)
    ]
