"""Cases of the fold that are too rare in the law's universes, compared with the oracle's row for the same events."""

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
    ("cases", "scheduled_at"),
    [
        ([{"occurred_at": -1, "scheduled_at": -1}, {"occurred_at": -1}], -1),
        ([{"occurred_at": 9, "scheduled_at": 7}, {"occurred_at": 9, "scheduled_at": 10**18}], 7),
    ],
    ids=["a known time before 1970 beats an unknown one", "any time beats an impossible one"],
)
def test_the_version_with_a_known_time_wins_a_tie(cases: list[dict[str, Any]], scheduled_at: int) -> None:
    events = [Event(**LEAST, **one) for one in cases]
    expected = job_row([event._asdict() for event in events])
    for order in permutations(events):
        (row,) = fold(order).jobs
        assert dict(zip(JOB_COLUMNS, row, strict=True))["scheduled_at"] == scheduled_at
    assert dict(zip(COLUMNS["jobs"], expected, strict=True))["scheduled_at"] == scheduled_at


@pytest.mark.parametrize("name", FARTHEST_US)
def test_a_time_counts_as_known_exactly_up_to_its_bounds(name: str) -> None:
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
def test_a_rebuild_folds_jobs_without_a_horizon_and_attempts_without_late_events(
    drawn: list[dict[str, Any]],
) -> None:
    events = [Event(**one) for one in drawn]
    in_time = [event for event in events if event.occurred_at >= DAY]
    whole, every, newer = fold_whole_log(events, [], DAY), fold(events), fold(in_time)
    assert sorted(map(_comparable, whole.jobs)) == sorted(map(_comparable, every.jobs))
    assert set(whole.edges) == set(every.edges)
    assert (whole.attempts, whole.groups) == (newer.attempts, newer.groups)
    assert (whole.events, whole.expired) == (len(events), len(events) - len(in_time))
    assert whole.late == []
    # An aggregator keeps each late event separate, because only jobs that are already known take it.
    apart = fold(events, [], DAY)
    assert (apart.jobs, apart.attempts) == (newer.jobs, newer.attempts)
    assert len(apart.late) == len(events) - len(in_time)
    assert sorted(map(_comparable, with_late(apart, apart.late).jobs)) == sorted(map(_comparable, every.jobs))


def _comparable(row: Any) -> list[str]:
    """Return the row with the entries of its maps as sets, because the order in JSON means nothing."""
    maps = (JOB_COLUMNS.index("expected_children"), JOB_COLUMNS.index("meta"))
    return [
        repr(sorted(loads(value).items()) if number in maps and value else value)
        for number, value in enumerate(row)
    ]
