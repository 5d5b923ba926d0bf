"""The times and durations that options and settings accept; others are refused with a suggestion."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import click
import pytest

from broker.reading import seek_ms
from cli.main import command, run
from cli.times import PastTime, Seconds, past_time
from consumers.rebuild.preflight import format_time
from schemas.errors import SettingsError
from settings.answers import AnswersSettings
from settings.base import Settings
from settings.database import DatabaseSettings
from settings.metrics import MetricsSettings

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


def commands(
    group: click.Command, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is not a group, with the words that call it."""
    if isinstance(group, click.Group):
        for name, child in group.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, group


TIME_OPTIONS = [
    (*path, option.opts[0])
    for path, found in commands(command)
    for option in found.params
    if isinstance(option.type, PastTime)
]


def refusal(text: str) -> str:
    """Return the error for a text that is refused."""
    with pytest.raises(ValueError) as raised:
        past_time(text, NOW)
    output = str(raised.value)
    assert output.startswith("expected how long ago (30m, 24h, 7d) or a time (2026-11-22T20:51:03Z), got ")
    assert output.isprintable()
    assert len(output) < 300
    return output


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30s", 30),
        ("5min", 300),
        ("30m", 1_800),
        ("1.5h", 5_400),
        ("7d", 604_800),
        ("2w", 1_209_600),
    ],
)
def test_an_age_is_counted_back_from_now(text: str, seconds: float) -> None:
    assert past_time(text, NOW) == NOW - timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-22T20:51:03Z", datetime(2026, 11, 22, 20, 51, 3, tzinfo=UTC)),
        ("2026-11-22t20:51:03z", datetime(2026, 11, 22, 20, 51, 3, tzinfo=UTC)),
        ("2026-11-22 20:51:03Z", datetime(2026, 11, 22, 20, 51, 3, tzinfo=UTC)),
        ("2026-11-22T20:51:03.123456789+0200", datetime(2026, 11, 22, 18, 51, 3, 123_456, UTC)),
        ("2026-11-22T20:51-03", datetime(2026, 11, 22, 23, 51, tzinfo=UTC)),
        ("2026-11-22", datetime(2026, 11, 22, tzinfo=UTC)),
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
        ("2026-11-28T14:00:00+02:00", NOW),
    ],
)
def test_a_time_is_read_in_its_zone_or_else_as_utc(text: str, time: datetime) -> None:
    assert past_time(text, NOW) == time
    assert past_time(text, NOW).tzinfo is UTC


@pytest.mark.parametrize("text", ["0d", "0s", "0.0h", "00m"])
def test_an_age_of_zero_is_refused(text: str) -> None:
    """Nothing has happened since now, so an empty list would be good news about nothing."""
    assert "that is now, and nothing has happened since" in refusal(text)


@pytest.mark.parametrize("sign", ["-", "+", "\N{MINUS SIGN}", "\N{EN DASH}", " -", "--"])
def test_an_age_with_a_sign_is_refused_with_the_age_without_it(sign: str) -> None:
    """-30d would be a time in the future."""
    assert refusal(f"{sign}30d").endswith("an age has no sign; did you mean 30d?")


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        (" 30d", "30d"),
        ("30d\n", "30d"),
        ("30\N{NO-BREAK SPACE}d", "30d"),
        ("30 d", "30d"),
        ("30D", "30d"),
        ("5M", "5m"),
        ("30days", "30d"),
        ("2 Hours", "2h"),
        ("30 days ago", "30d"),
        ("3mo", "90d"),
        ("2y", "730d"),
        ("P30D", "30d"),
        ("PT1H30M", "90m"),
        ("1h30m", "90m"),
        ("1,5h", "1.5h"),
        ("1_000d", "1000d"),
        ("\N{ARABIC-INDIC DIGIT THREE}\N{ARABIC-INDIC DIGIT ZERO}d", "30d"),
        ("\N{FULLWIDTH DIGIT THREE}0d", "30d"),
        ("20261122", "2026-11-22T00:00:00Z"),
        ("20261122T205103Z", "2026-11-22T20:51:03Z"),
        ("2026-W47-7", "2026-11-22T00:00:00Z"),
        ("2026/11/22", "2026-11-22T00:00:00Z"),
        ("2026\N{MINUS SIGN}11\N{MINUS SIGN}22", "2026-11-22T00:00:00Z"),
        ("2026-11-22 20:51:03 +0200", "2026-11-22T18:51:03Z"),
        ("2026-11-22T24:00:00Z", "2026-11-23T00:00:00Z"),
        ("2026-11-22T24:00+02:00", "2026-11-23T00:00:00+02:00"),
        ("1760000000", "2025-10-09T08:53:20Z"),
        ("1760000000000", "2025-10-09T08:53:20Z"),
    ],
)
def test_a_time_in_another_form_is_refused_with_a_suggestion(text: str, meant: str) -> None:
    """The proposed text is accepted."""
    assert refusal(text).endswith(f"did you mean {meant}?")
    past_time(meant, NOW)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("30", "the unit is missing: 30s, 30m, 30h or 30d?"),
        ("", "an age is a number and one of the units s, m, min, h, d, w"),
        ("d", "one of the units"),
        ("-", "one of the units"),
        ("nan", "one of the units"),
        ("nand", "one of the units"),
        ("infd", "one of the units"),
        ("1e400d", "one of the units"),
        ("30q", "one of the units"),
        ("\x1b[31m30d", "one of the units"),
        ("9" * 400 + "d", "no time before the year 1"),
        ("999999d", "no time before the year 1, 739947 days ago"),
        ("9" * 5_000, "the unit is missing"),
        ("9" * 30 + "y", "one of the units"),
        ("2026-02-30", "there is no such time (day is out of range for month)"),
        ("2026-11-22T24:30:00Z", "there is no such time (hour must be in 0..23)"),
        ("9999-12-31T24:00:00Z", "there is no such time"),
        ("0000-01-01", "there is no such time"),
        ("2026-11-22T20:51:03+24:00", "there is no such time"),
        ("0001-01-01T00:00:00+14:00", "in UTC that is not within the years 1 to 9999"),
        ("9999-12-31T23:59:59-14:00", "in UTC that is not within the years 1 to 9999"),
        ("2026-11-28T14:00:01+02:00", "that is in the future, now is 2026-11-28T12:00:00Z"),
        ("2126-11-22", "that is in the future"),
    ],
)
def test_a_text_that_is_not_a_past_time_is_refused_with_the_reason(text: str, why: str) -> None:
    assert why in refusal(text)


@pytest.mark.parametrize("words", TIME_OPTIONS, ids=" ".join)
def test_every_option_that_takes_a_time_refuses_one_in_the_future(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused before anything is read or deleted, and without any setting."""
    for given in ("-30d", "2126-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"):
        assert run([*words, given]) == 2
        output = capsys.readouterr()
        assert output.out == ""
        assert f"Invalid value for '{words[-1]}'" in output.err
        assert "defect" not in output.err


def test_all_options_of_time_are_tested() -> None:
    assert {words[-1] for words in TIME_OPTIONS} == {"--since", "--before", "--from"}
    assert len(TIME_OPTIONS) == 7


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("0.5", 0.5), ("90s", 90), ("2m", 120)])
def test_a_span_without_a_unit_is_in_seconds(text: str, seconds: float) -> None:
    assert Seconds(3_600).convert(text, None, None) == seconds


@pytest.mark.parametrize(
    "text", ["0", "-1", "+1", "nan", "inf", "1e400", "3601", "2h", "", "x", "1 s", "\N{SUPERSCRIPT TWO}"]
)
def test_an_invalid_span_is_refused_with_its_limit(text: str) -> None:
    with pytest.raises(click.BadParameter, match="expected seconds, more than 0 and at most 3600, such as"):
        Seconds(3_600).convert(text, None, None)


def test_a_time_from_before_1970_is_sought_from_the_start() -> None:
    """The library does not accept negative numbers."""
    assert seek_ms(datetime(1, 1, 1, tzinfo=UTC)) == 0
    assert seek_ms(datetime(1970, 1, 1, 0, 0, 1, 500_000, UTC)) == 1_500


def test_a_time_is_shown_as_the_option_accepts_it() -> None:
    for time in (
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(2026, 11, 22, 1, 2, 3, 4, timezone(timedelta(hours=2))),
    ):
        assert past_time(format_time(time), NOW) == time


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1e400", "-1", "1e300"])
@pytest.mark.parametrize(
    "name", ["STUCK_FLOOR_SECONDS", "LOST_FLOOR_SECONDS", "LOST_WITHOUT_HISTORY_SECONDS"]
)
def test_a_setting_in_seconds_refuses_a_value_that_is_not_a_duration(
    monkeypatch: pytest.MonkeyPatch, name: str, text: str
) -> None:
    monkeypatch.setenv(f"JOBTRAIL_{name}", text)
    with pytest.raises(SettingsError, match=rf"JOBTRAIL_{name}: .*, got '{text}'"):
        AnswersSettings.load()


@pytest.mark.parametrize(
    ("settings", "variable", "text", "meant"),
    [
        (AnswersSettings, "JOBTRAIL_STUCK_FLOOR_SECONDS", "5 min", "300"),
        (AnswersSettings, "JOBTRAIL_ANSWERS_STATEMENT_TIMEOUT_SECONDS", "30s", "30"),
        (MetricsSettings, "JOBTRAIL_WATCHDOG_SECONDS", "2m", "120"),
        (MetricsSettings, "JOBTRAIL_METRICS_PORT", "9465s", None),
    ],
)
def test_a_unit_in_a_setting_is_refused_with_the_number_to_use(
    monkeypatch: pytest.MonkeyPatch, settings: type[Settings], variable: str, text: str, meant: str | None
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as raised:
        settings.load()
    output = str(raised.value)
    assert f"{variable}: " in output
    assert output.endswith(f"got '{text}'; did you mean {meant}?" if meant else f"got '{text}'")


@pytest.mark.parametrize(
    "window", ["-5m", "+5m", "5 m", "5M", "5", "1e3m", "nanm", "\N{FULLWIDTH DIGIT FIVE}m", "9" * 5_000 + "m"]
)
def test_a_window_that_is_not_a_duration_is_refused(monkeypatch: pytest.MonkeyPatch, window: str) -> None:
    monkeypatch.setenv("JOBTRAIL_METRICS_WINDOWS", f'["{window}"]')
    with pytest.raises(SettingsError, match="JOBTRAIL_METRICS_WINDOWS"):
        MetricsSettings.load()


def test_a_value_that_may_be_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """An invalid URL may contain a password."""
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", "http://u:s3cret@broker:8080")
    with pytest.raises(SettingsError, match="JOBTRAIL_PULSAR_URL: ") as raised:
        MetricsSettings.load()
    assert "s3cret" not in str(raised.value)


def test_a_port_that_kubernetes_set_is_recognised(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes sets this variable in every pod for a Service called jobtrail-metrics."""
    monkeypatch.setenv("JOBTRAIL_METRICS_PORT", "tcp://10.0.0.7:9465")
    with pytest.raises(SettingsError, match="enableServiceLinks: false"):
        MetricsSettings.load()


@pytest.mark.parametrize("content", [b"metrics_port 9465", b"topic = \xff", b"[metrics"])
def test_a_settings_file_that_is_not_toml_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "jobtrail.toml"
    path.write_bytes(content)
    monkeypatch.setenv("JOBTRAIL_CONFIG_FILE", str(path))
    with pytest.raises(
        SettingsError, match=r"jobtrail\.toml', which cannot be read: .* Expected a file in TOML"
    ):
        DatabaseSettings.load()
