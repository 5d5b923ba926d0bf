"""Cases of the fold that the law meets too rarely, compared with the oracle's row for the same events."""

from itertools import permutations
from typing import Any

import pytest

from derive.fold import fold
from derive.rows import JOB_COLUMNS
from schemas.contract import Event
from tests.law.oracle import COLUMNS, FARTHEST_US, job_row

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
