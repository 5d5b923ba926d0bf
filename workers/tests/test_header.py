"""The header passes through any queue, and a broken or hostile one does no harm."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtrail
from jobtrail import _header
from workers.tests.reading import Topic, only

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
TICKET = st.builds(
    _header.Ticket,
    namespace=TEXT.filter(bool),
    job_id=TEXT.filter(bool),
    worker=TEXT,
    queue=TEXT,
    source=TEXT,
    external_id=TEXT,
    parent_job_id=TEXT,
    root_job_id=TEXT,
    depth=st.integers(-1, 2**31 - 1),
    attempt=st.integers(1, 2**31 - 1),
    max_attempts=st.integers(0, 2**31 - 1),
    enqueued_at=st.integers(0, 2**50),
    scheduled_at=st.integers(0, 2**50),
)


@given(TICKET)
def test_ticket_survives_the_header(ticket: _header.Ticket) -> None:
    headers = _header.write(ticket)
    (value,) = headers.values()
    assert value.isascii()
    assert value.isprintable()
    assert not set(value) & set(" \"';,")
    assert _header.read(headers) == ticket
    assert _header.read({"Jobtrail": value.encode(), "other": 1}) == ticket


def test_longest_ticket_stays_within_the_limit() -> None:
    ticket = _header.Ticket(
        "\x01" * 200, '"' * 500, "w" * 300, "q" * 200, "s" * 300, "x" * 500, '"' * 500, '"' * 500
    )
    (value,) = _header.write(ticket).values()
    assert len(value) <= _header.LIMIT
    read = _header.read({"jobtrail": value})
    assert read is not None
    assert read.job_id == ticket.job_id


def packed(value: object) -> str:
    return "1." + base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


HOSTILE = [
    "nonsense",
    "1.",
    "1.****",
    "2.W10",
    "1." + "A" * 100_000,
    packed({}),
    packed([1] * 13),
    packed(["n", "j", "", "", "", "", "", "", -2, 1, 0, 0, 0]),
    packed(["n", "j", "", "", "", "", "", "", 0, True, 0, 0, 0]),
    packed(["n", "j", "", "", "", "", "", "", 0, 1, 0, 0, 10**30]),
    packed(["", "", "", "", "", "", "", "", 0, 1, 0, 0, 0]),
    "1." + base64.urlsafe_b64encode(b"[" * 5000).decode(),
    b"\xff\xfe",
    4711,
    ["list"],
]


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_header_is_counted_and_ignored(value: object, events: Topic) -> None:
    before = jobtrail.stats().dropped.get("header", 0)
    with jobtrail.job("PageJob", job_id="page", headers={"jobtrail": value}) as job:
        assert job.lineage == ("", "page", 0)
    assert jobtrail.stats().dropped["header"] == before + 1
    assert only(events.read(), state="completed")["job_id"] == "page"


@given(st.text(max_size=300) | st.binary(max_size=300))
def test_any_header_yields_a_ticket_or_a_value_error(value: str | bytes) -> None:
    with contextlib.suppress(ValueError):
        _header.read({"jobtrail": value})


def test_missing_header_is_not_an_error() -> None:
    assert _header.read(None) is None
    assert _header.read({}) is None
    assert _header.read({"other": "x"}) is None
