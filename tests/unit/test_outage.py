"""The log lines of an outage: few, however often a service tries again."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers.process.outage import OutageLog


@pytest.fixture
def lines() -> Any:
    """Yield the list that collects the lines of the log."""
    with capture_logs() as found:
        yield found


class Clock:
    """A clock that the test sets."""

    seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def outage(clock: Clock) -> OutageLog:
    return OutageLog("database_away", "database_back", "tries again", clock)


def test_an_outage_is_logged_at_its_beginning_once_a_minute_and_at_its_end(
    lines: list[dict[str, Any]],
) -> None:
    clock = Clock()
    database = outage(clock)
    for _ in range(130):
        database.failed("nothing listens there")
        clock.seconds += 1
    database.ended()
    database.ended()
    assert [(line["event"], line["seconds"]) for line in lines] == [
        ("database_away", 0.0),
        ("database_away", 60.0),
        ("database_away", 120.0),
        ("database_back", 130.0),
    ]


def test_another_cause_is_logged_at_once(lines: list[dict[str, Any]]) -> None:
    database = outage(Clock())
    for error in ("cut off", "cut off", "nothing listens there", "it is starting", "it is starting"):
        database.failed(error)
    assert [line["error"] for line in lines] == ["cut off", "nothing listens there", "it is starting"]


def test_a_server_that_was_never_away_is_not_logged_as_back(lines: list[dict[str, Any]]) -> None:
    outage(Clock()).ended()
    assert lines == []
