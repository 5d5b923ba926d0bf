"""The `jobtrail` command, without a database."""

import json
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from cli import main
from cli.lineage import jobs
from schemas.contract import STATES
from store.answers.as_json import moment


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, click.Abort])
def test_an_interrupted_command_ends_with_130_without_output(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], interruption: type[BaseException]
) -> None:
    """The status is that of a program that SIGINT ended, so that a script stops too."""

    def interrupted(*_: object, **__: object) -> None:
        raise interruption

    monkeypatch.setattr(jobs, "callback", interrupted)
    assert main.run(["lineage", "jobs", "12345"]) == 130
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
        (datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC), "9999-12-31T23:59:59.999999Z"),
        (datetime(2026, 11, 22, 1, tzinfo=timezone(timedelta(hours=2))), "2026-11-21T23:00:00.000000Z"),
    ],
)
def test_a_time_in_json_is_rfc_3339_in_any_year(time: datetime, text: str) -> None:
    assert moment(time) == text


@pytest.mark.parametrize(
    ("arguments", "service"),
    [(["aggregate"], "aggregator"), (["metrics"], "metrics"), (["runs", "list"], None)],
)
def test_the_last_line_of_a_service_that_logs_json_is_json(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    service: str | None,
) -> None:
    """A program reads its log. What people ask is answered as text."""
    monkeypatch.setenv("JOBTRAIL_LOG_FORMAT", "json")
    monkeypatch.delenv("JOBTRAIL_DATABASE_URL", raising=False)
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", "http://127.0.0.1")
    assert main.run(arguments) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    if service is None:
        assert last.startswith("jobtrail: settings cannot be used")
    else:
        fields = json.loads(last)
        assert (fields["service"], fields["event"], fields["level"], fields["status"]) == (
            service,
            "ended",
            "error",
            2,
        )
        assert fields["error"].startswith("settings cannot be used")


def test_every_state_of_the_contract_can_be_filtered_by() -> None:
    (option,) = (parameter for parameter in jobs.params if parameter.name == "state")
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == STATES
