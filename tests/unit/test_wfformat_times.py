"""The time of a recorded run: every known form of `executedAt`, and only times that an event may have."""

import copy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publishers.wfformat.moments import moment
from publishers.wfformat.play import run
from publishers.wfformat.read import read
from schemas.errors import InputError
from settings.broker import BrokerSettings
from tests.unit.workflow_files import DIAMOND, executed, written

AT = datetime(2021, 3, 23, 5, 57, 32, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        "2021-03-22T19:57:32-10:00",
        "2021-03-23T05:57:32+00:00",
        "2021-03-23T05:57:32Z",
        "2021-03-23t05:57:32z",
        "2021-03-23 05:57:32",
        "2021-03-23 05:57:32.0",
        "2021-03-23T05:57:32.000000000+00:00",
        "2021-03-23 05:57:32 UTC",
        "2021-03-23 05:57:32 GMT",
        "2021/03/23 05:57:32",
        "2021/3/23 05:57:32",
        "20210323T055732+0000",
        "20210323T055732Z",
        "20210323055732",
        "03-23-21T05:57:32Z",
        "Tue, 23 Mar 2021 05:57:32 GMT",
        "Tue, 23 Mar 2021 06:57:32 +0100",
        "23 Mar 2021 05:57:32",
        "Tue Mar 23 05:57:32 2021",
        " 2021-03-23T05:57:32Z ",
        1616479052,
        1616479052.0,
        "1616479052",
        "1616479052.0",
        1616479052000,
        "1616479052000000",
        1616479052000000000,
    ],
)
def test_every_form_of_executed_at_is_the_same_time_in_utc(value: object) -> None:
    assert moment(value) == AT


@pytest.mark.parametrize(
    "value",
    [
        *("Tuesday", "n/a", "", "-", "May", "-5", "1e300", "9" * 400, "2021-02-30", "99999999", "24:00"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "03/23/2021 05:57:32"),
        *("Tue, 23 Mar 2021 05:57:32 CET", "2021-03-23 05:57:32 PST"),
        *(None, True, [], {}, float("inf"), float("nan"), -1, 10**30),
    ],
)
def test_text_that_is_not_a_time_is_not_known(value: object) -> None:
    """A zone other than UTC would be read as UTC, and a day could be read as a month."""
    assert moment(value) is None


def test_nine_digits_of_a_second_are_cut_to_microseconds() -> None:
    at = moment("2026-06-26T13:48:14.144951329-10:00")
    assert at == datetime(2026, 6, 26, 23, 48, 14, 144951, tzinfo=UTC)


def test_time_of_a_run_may_be_a_number(tmp_path: Path) -> None:
    """Version 1.0 has such times."""
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["execution"]["executedAt"] = 1616479052.5
    trace = read(written(tmp_path, document))
    assert (trace.executed_at_text, trace.meta["recorded_at"]) == ("1616479052.5", "1616479052.5")
    assert trace.executed_at is not None
    assert trace.executed_at.timestamp() == 1616479052.5


@pytest.mark.parametrize("value", ["n/a", None, "Tuesday", "03/23/2021"])
def test_original_times_without_a_readable_time_are_refused_with_the_forms(
    tmp_path: Path, value: object
) -> None:
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["execution"]["executedAt"] = value
    with pytest.raises(
        InputError, match="--original-times needs executedAt, expected as in 2020-12-28T16"
    ) as caught:
        run(
            [written(tmp_path, document)],
            "ns",
            original_times=True,
            instant=True,
            broker=BrokerSettings.load(),
        )
    assert "Import without --original-times" in str(caught.value)


@pytest.mark.parametrize(
    "value",
    ["1999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2099-12-31T23:59:55Z", 0],
)
def test_original_times_that_no_event_may_have_are_refused(tmp_path: Path, value: object) -> None:
    """Every event of such a run would become a dead letter."""
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["execution"]["executedAt"] = value
    with pytest.raises(InputError, match="expected times from 2000 to 2099"):
        run(
            [written(tmp_path, document)],
            "ns",
            original_times=True,
            instant=True,
            broker=BrokerSettings.load(),
        )


def test_run_longer_than_the_time_since_2000_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    for task in executed(document):
        task["runtimeInSeconds"] = 300_000_000
    with pytest.raises(InputError, match="expected times from 2000 to 2099"):
        run([written(tmp_path, document)], "ns", instant=True, broker=BrokerSettings.load())
