"""Unknown settings: every command and service names them at its start, with the nearest known one."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from cli.main import TRACEBACK_VARIABLE, run
from consumers.process import barriers
from jobtrail import _config
from servers import postgres_programs, pulsar
from servers.ports import HOST
from settings.names import SDK_SETTINGS, pipeline_settings, unknown_names
from testing.services import JOBTRAIL

ROOT = Path(__file__).parents[2]

EXAMPLES = {"JOBTRAIL_PULSAR_ULR"}
"""Misspelt on purpose in the docs, to show the message."""


def warnings_for(environment: dict[str, str]) -> list[str]:
    return [str(unknown) for unknown in unknown_names(environment)]


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("JOBTRAIL_PULSAR_ULR", "JOBTRAIL_PULSAR_URL"),
        ("JOBTRAIL_DB_URL", "JOBTRAIL_DATABASE_URL"),
        ("JOBTRAIL_DATABASE", "JOBTRAIL_DATABASE_URL"),
        ("JOBTRAIL__DATABASE_URL", "JOBTRAIL_DATABASE_URL"),
        ("JOBTRAIL_WATCHDOG_SECOND", "JOBTRAIL_WATCHDOG_SECONDS"),
        ("JOBTRAIL_SPOOLDIR", "JOBTRAIL_SPOOL_DIR"),
        ("JOBTRAIL_TRACE_BACK", "JOBTRAIL_TRACEBACK"),
        ("jobtrail_pulsar_ulr", "JOBTRAIL_PULSAR_URL"),
        ("jobtrail_config_file", "JOBTRAIL_CONFIG_FILE"),
        ("Jobtrail_Spool_Dir", "JOBTRAIL_SPOOL_DIR"),
        ("JOBTRIAL_DATABASE_URL", "JOBTRAIL_DATABASE_URL"),
        ("JOB_TRAIL_DATABASE_URL", "JOBTRAIL_DATABASE_URL"),
        ("JOBTRAILS_TOPIC", "JOBTRAIL_TOPIC"),
    ],
)
def test_a_variable_that_nothing_reads_is_named_with_the_nearest_one(name: str, nearest: str) -> None:
    assert warnings_for({name: "s3cret"}) == [f"the variable {name} is ignored; did you mean {nearest}?"]


def test_a_variable_unlike_any_known_one_is_named_without_a_guess() -> None:
    assert warnings_for({"JOBTRAIL_XYZ": "1"}) == [
        "the variable JOBTRAIL_XYZ is ignored: no setting has such a name"
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JOBTRAIL_DATABASE_URL", "x"),
        ("jobtrail_database_url", "x"),
        ("JOBTRAIL_SPOOL_DIR", "/x"),
        ("JOBTRAIL_CONFIG_FILE", "/nowhere"),
        ("JOBTRAIL_TRACEBACK", "1"),
        ("JOBTRAIL_TEST_PULSAR_URL", "x"),
        ("JOBTRAIL_PULSAR_ULR", ""),  # empty means not set
        ("JOBTRAIL_AGGREGATOR_SERVICE_HOST", "10.0.0.7"),
        ("JOBTRAIL_AGGREGATOR_SERVICE_PORT", "9464"),
        ("JOBTRAIL_SERVICE_PORT_HTTP", "9464"),
        ("JOBTRAIL_POSTGRES_PORT", "tcp://10.0.0.7:5432"),
        ("JOBTRAIL_POSTGRES_PORT_5432_TCP", "tcp://10.0.0.7:5432"),
        ("JOBTRAIL_POSTGRES_PORT_5432_TCP_ADDR", "10.0.0.7"),
        ("JOB_NAME", "x"),
        ("JOBS", "4"),
        ("OLD_JOBTRAIL_TOPIC", "x"),
    ],
)
def test_variables_with_another_reader_are_not_named(name: str, value: str) -> None:
    """Variables of the SDK and of tests, empty ones, and those that Kubernetes sets for a Service called jobtrail-…"""
    assert warnings_for({name: value}) == []


def test_a_setting_in_the_file_that_nothing_reads_is_named(tmp_path: Path) -> None:
    path = tmp_path / "jobtrail.toml"
    path.write_text('pulsar_ulr = "s3cret"\nJOBTRAIL_TOPIC = "x"\ntopic = "x"\n[spool]\ndir = "x"\n')
    assert warnings_for({"JOBTRAIL_CONFIG_FILE": str(path)}) == [
        f"the setting JOBTRAIL_TOPIC in {str(path)!r} is ignored; did you mean topic?",
        f"the setting pulsar_ulr in {str(path)!r} is ignored; did you mean pulsar_url?",
        f"the setting spool in {str(path)!r} is ignored: no setting has such a name",
    ]
    path.write_text("not toml")
    assert warnings_for({"JOBTRAIL_CONFIG_FILE": str(path)}) == []


def test_every_command_names_an_unknown_variable_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("JOBTRAIL_PULSAR_ULR", "s3cret")
    event = tmp_path / "event.json"
    event.write_text("{}")
    assert run(["events", "validate", str(event), "--json"]) == 1
    shown = capsys.readouterr()
    assert (
        shown.err
        == "jobtrail: the variable JOBTRAIL_PULSAR_ULR is ignored; did you mean JOBTRAIL_PULSAR_URL?\n"
    )
    assert json.loads(shown.out)["invalid"] == 1


@pytest.mark.parametrize("service", ["aggregate", "metrics"])
def test_every_service_logs_an_unknown_variable(service: str) -> None:
    """The service here ends at once, because its listen address does not belong to this host."""
    environment = {
        "PATH": os.environ["PATH"],
        "JOBTRAIL_DATABASE_URL": f"postgresql://{HOST}:1/x",
        "JOBTRAIL_LISTEN_HOST": "192.0.2.1",
        "JOBTRAIL_LOG_FORMAT": "json",
        "JOBTRAIL_PULSAR_ULR": "s3cret",
    }
    ended = subprocess.run([JOBTRAIL, service], env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    line = json.loads(ended.stderr.splitlines()[0])
    assert line["event"] == "unknown_setting"
    assert (line["name"], line["did_you_mean"]) == ("JOBTRAIL_PULSAR_ULR", "JOBTRAIL_PULSAR_URL")
    assert "s3cret" not in ended.stderr


def test_a_service_whose_setting_is_missing_names_the_misspelt_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("JOBTRAIL_DATABASE_URL", raising=False)
    monkeypatch.setenv("JOBTRAIL_DATABASE_ULR", "postgresql://u:s3cret@h/x")
    assert run(["aggregate"]) == 2
    misspelt, missing = capsys.readouterr().err.splitlines()
    assert misspelt.endswith("JOBTRAIL_DATABASE_ULR is ignored; did you mean JOBTRAIL_DATABASE_URL?")
    assert "JOBTRAIL_DATABASE_URL is not set" in missing


def test_the_names_that_the_sdk_reads_are_known() -> None:
    assert set(_config._PARSERS) == SDK_SETTINGS


def test_every_variable_that_the_project_mentions_is_known() -> None:
    """This holds for the code, the tests and the docs."""
    ours = [path for path in ROOT.iterdir() if path.name[0] != "." or path.name == ".ci"]
    files = [
        path
        for top in ours
        for path in ((top, *top.rglob("*")) if top.is_dir() else (top,))
        if path.is_file()
    ]
    named = {
        name
        for file in files
        if file.suffix in {"", ".py", ".md", ".yml", ".toml", ".conf"} and file != Path(__file__)
        for name in re.findall(r"\bJOBTRAIL_[A-Z0-9_]*[A-Z0-9]\b", file.read_text(errors="replace"))
    }
    assert {f"JOBTRAIL_{name.upper()}" for name in pipeline_settings()} <= named
    unknown = {found.name for found in unknown_names(dict.fromkeys(named, "x"))}
    assert unknown - EXAMPLES == set()


def test_variables_that_are_not_settings_are_known() -> None:
    variables = (
        TRACEBACK_VARIABLE,
        barriers.VARIABLE,
        pulsar.URL_VARIABLE,
        pulsar.ADMIN_URL_VARIABLE,
        postgres_programs.OLDEST_VARIABLE,
    )
    assert warnings_for(dict.fromkeys(variables, "x")) == []
