"""Checking events before they are published: the fault, its field, and the cure."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import EVENT_BYTES, SCHEMA, SCHEMA_TEXT
from schemas.decode import decoder
from schemas.look import look
from schemas.times import AHEAD_US, FARTHEST_US, LONGEST_RUN_US, OTHER_TIMES, known_times
from schemas.validate import problems_of_json, problems_of_payload
from schemas.writer_schema import plain_schema
from testing.impossible_times import IMPOSSIBLE_TIMES
from testing.topics import EVENT as LEAST
from testing.topics import encode

Validate = Callable[..., tuple[int, str]]

EVENT: dict[str, Any] = {**LEAST, "root_job_id": LEAST["job_id"], "depth": 0}
"""A valid event that needs no advice."""


def found(**fields: Any) -> list[tuple[str, str]]:
    """Return (reason, field) of every fault in an event; a field set to ``...`` is left out."""
    event = {name: value for name, value in {**EVENT, **fields}.items() if value is not ...}
    return [(problem.reason, problem.field) for problem in problems_of_json(event)]


def test_a_valid_event_has_no_problem() -> None:
    assert found() == []
    assert (
        found(occurred_at="2026-11-22T20:51:03.5+01:00", started_at=None, error=None, meta={"k": "v"}) == []
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"worker": ...}, ("missing_field", "worker")),
        ({"worker": ""}, ("missing_field", "worker")),
        ({"worker": None}, ("malformed", "worker")),
        ({"jobid": "1"}, ("malformed", "jobid")),
        ({"state": "complete"}, ("unknown_state", "state")),
        ({"attempt": "1"}, ("malformed", "attempt")),
        ({"attempt": True}, ("malformed", "attempt")),
        ({"attempt": 1.0}, ("malformed", "attempt")),
        ({"attempt": 2**31}, ("out_of_range", "attempt")),
        ({"attempt": 0}, ("out_of_range", "attempt")),
        ({"occurred_at": "yesterday"}, ("malformed", "occurred_at")),
        ({"occurred_at": "2026-11-22T20:51:03"}, ("malformed", "occurred_at")),
        ({"occurred_at": None}, ("missing_field", "occurred_at")),
        ({"occurred_at": 1_790_000_000}, ("out_of_range", "occurred_at")),
        ({"occurred_at": 2**70}, ("out_of_range", "occurred_at")),
        ({"job_id": "x" * 501}, ("too_long", "job_id")),
        ({"external_id": "\0"}, ("nul_in_text", "external_id")),
        ({"external_id": "\ud800"}, ("malformed", "external_id")),
        ({"depends_on": "7"}, ("malformed", "depends_on")),
        ({"depends_on": [7]}, ("malformed", "depends_on[0]")),
        ({"expected_children": {"W": "3"}}, ("malformed", "expected_children['W']")),
        ({"meta": {"k": 1}}, ("malformed", "meta['k']")),
        ({"meta": []}, ("malformed", "meta")),
        ({"error": "boom"}, ("malformed", "error")),
        ({"error": {"mesage": "boom"}}, ("malformed", "error.mesage")),
        ({"args": "x" * EVENT_BYTES}, ("too_large", "")),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_reason_and_field(fields: dict[str, Any], expected: tuple[str, str]) -> None:
    assert found(**fields) == [expected]


def test_all_faults_are_reported_at_once_with_the_cure() -> None:
    problems = problems_of_json({"namespace": "n", "jobid": "1", "state": "complete", "attempt": "1"})
    cures = {problem.field: problem.says for problem in problems}
    assert cures["jobid"] == "there is no such field: did you mean job_id?"
    assert cures["state"] == "did you mean completed?"
    assert {"job_id", "worker", "queue", "occurred_at"} <= set(cures)


@pytest.mark.parametrize("value", [[], "x", 7, None, True])
def test_a_value_that_is_not_an_object_is_not_an_event(value: object) -> None:
    (problem,) = problems_of_json(value)
    assert problem.reason == "malformed"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"state": "discarded"}, "error"),
        ({"parent_job_id": "7", "root_job_id": "", "depth": -1}, "root_job_id"),
        ({"parent_job_id": "7", "root_job_id": "6", "depth": -1}, "root_job_id"),
        ({"depth": 0, "root_job_id": "7"}, "root_job_id"),
        ({"root_job_id": "", "depth": -1}, "root_job_id"),
        ({"root_job_id": EVENT["job_id"], "depth": -1}, "root_job_id"),
        ({"started_at": EVENT["occurred_at"] + 60_000_000}, "started_at"),
        ({"started_at": EVENT["occurred_at"] - 31 * 86_400_000_000}, "started_at"),
        ({"attempt": 4, "max_attempts": 3}, "attempt"),
    ],
)
def test_advice_is_given_on_events_that_are_still_accepted(fields: dict[str, Any], field: str) -> None:
    assert found(**fields) == [("advice", field)]
    payload = encode({**EVENT, **fields})
    (problem,) = problems_of_payload(payload, decoder(SCHEMA_TEXT))
    assert (problem.reason, problem.field) == ("advice", field)


@pytest.mark.parametrize("name", ["enqueued_at", "scheduled_at", "started_at"])
@pytest.mark.parametrize("wrong", IMPOSSIBLE_TIMES.values(), ids=IMPOSSIBLE_TIMES)
def test_advice_on_an_impossible_time_names_the_rule(name: str, wrong: Callable[[int], int]) -> None:
    """The event is accepted. It is tried as JSON, with the time as text where possible, and encoded."""
    fields = {name: wrong(EVENT["occurred_at"])}
    (problem,) = problems_of_json({**EVENT, **fields})
    assert (problem.reason, problem.field, problem.value) == ("advice", name, str(fields[name]))
    assert "it may lie from " in problem.says
    assert problems_of_payload(encode({**EVENT, **fields}, plain_schema(SCHEMA)), decoder(SCHEMA_TEXT)) == [
        problem._replace(value=str(fields[name]))
    ]


@pytest.mark.parametrize(
    ("wrong", "mistake"),
    [
        (IMPOSSIBLE_TIMES["milliseconds"], "milliseconds in a field of microseconds"),
        (IMPOSSIBLE_TIMES["seconds"], "seconds in a field of microseconds"),
        (IMPOSSIBLE_TIMES["the zero time of Go and .NET"], "the zero time of Go and .NET"),
        (IMPOSSIBLE_TIMES["the zero time of Windows"], "the zero time of Windows"),
        (IMPOSSIBLE_TIMES["minus one"], "the zero time of Unix"),
        (IMPOSSIBLE_TIMES["Windows' file time"], "Windows' file time"),
        (lambda at: at + 2 * 3_600_000_000, "local time instead of UTC"),
        (lambda at: at * 1_000, "nanoseconds"),
        (lambda at: (at + 62_135_596_800_000_000) * 10, "ticks of .NET"),
    ],
)
def test_the_likely_mistake_in_a_time_is_named(wrong: Callable[[int], int], mistake: str) -> None:
    (problem,) = problems_of_json({**EVENT, "started_at": wrong(EVENT["occurred_at"])})
    assert f"robably {mistake}" in problem.says


@pytest.mark.parametrize(("unit", "name"), [(1_000, "milliseconds"), (1_000_000, "seconds")])
def test_an_event_whose_own_time_is_in_another_unit_is_refused_with_the_units_name(
    unit: int, name: str
) -> None:
    (problem,) = problems_of_json({**EVENT, "occurred_at": EVENT["occurred_at"] // unit})
    assert problem.reason == "out_of_range"
    assert f"probably {name} in a field of microseconds" in problem.says


def test_the_queries_have_the_bounds_of_the_rule() -> None:
    day = 86_400_000_000
    days = {f"{us // day} days" for us in (FARTHEST_US, LONGEST_RUN_US)}
    minutes = f"{AHEAD_US // 60_000_000} minutes"
    queries = Path(__file__).parents[2] / "store" / "queries"
    for name, units in (("parity.sql", days), ("answers_verdicts.sql", {f"{LONGEST_RUN_US // day} days"})):
        found = set(re.findall(r"interval '-?(\d+ (?:days|minutes))'", (queries / name).read_text()))
        assert found == {*units, minutes}, name


def test_the_rule_in_words_has_the_numbers_of_the_rule() -> None:
    """docs/event.md and the advice state the rule in words."""
    day = 86_400_000_000
    at = EVENT["occurred_at"]
    for field, (before, after) in {
        "enqueued_at": (3_653 * day, 300_000_000),
        "scheduled_at": (3_653 * day, 3_653 * day),
        "started_at": (366 * day, 300_000_000),
    }.items():
        for time, is_known in (
            (at - before, True),
            (at - before - 1, False),
            (at + after, True),
            (at + after + 1, False),
        ):
            times = {name: time if name == field else 0 for name in OTHER_TIMES}
            assert any(known_times(at, **times)) == is_known, (field, time - at)


def test_an_encoded_event_is_judged_as_by_a_consumer() -> None:
    decode = decoder(SCHEMA_TEXT)
    assert problems_of_payload(encode(EVENT), decode) == []
    for payload, reason, field in (
        (encode(EVENT)[:-1], "malformed", ""),
        (encode(EVENT) + b"!", "trailing_bytes", ""),
        (encode({**EVENT, "attempt": 0}), "out_of_range", "attempt"),
        (b"x" * (EVENT_BYTES + 1), "too_large", ""),
    ):
        (problem,) = problems_of_payload(payload, decode)
        assert (problem.reason, problem.field) == (reason, field)


def test_a_payload_is_shown_by_a_schema_that_reads_it() -> None:
    looked = look(encode({**EVENT, "attempt": -3}) + b"!!")
    assert looked is not None
    assert (looked.event["attempt"], looked.bytes_left) == (-3, 2)
    assert look(b"\x07") is None
