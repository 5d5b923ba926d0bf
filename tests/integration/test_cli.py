"""The `jobtrail` command as people and programs meet it: pages, JSON, exit statuses, errors in a line."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cli.main import command, run
from store.answers.stages import STATES
from tests.integration.story import KINO, ago, event, incident, root_of, tell

ROOT = Path(__file__).resolve().parents[2]
Jobtrail = Callable[..., tuple[int, str, str]]


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Runs the command on a database that holds the incident; returns its status, output and errors."""
    events = [*incident(), event("\x1b[31mEvil\u202eJob", "evil", "completed", ago(), **root_of("evil"))]
    tell(database_url, events).close()
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)
    for name in ("JOBTRAIL_NAMESPACE", "JOBTRAIL_STUCK_FLOOR_SECONDS"):
        monkeypatch.delenv(name, raising=False)

    def called(*arguments: str) -> tuple[int, str, str]:
        status = run(list(arguments))
        said = capsys.readouterr()
        return status, said.out, said.err

    return called


def answer(jobtrail: Jobtrail, *arguments: str, status: int = 0) -> Any:
    """What the command says in JSON."""
    ended, out, err = jobtrail(*arguments, "--json")
    assert (ended, err) == (status, "")
    return json.loads(out)


def test_stats_have_the_shape_that_others_build_on(jobtrail: Jobtrail) -> None:
    found = answer(jobtrail, "lineage", "stats", "#12345")
    assert (found["root"], found["namespace"]) == ("12345", KINO)
    page = found["stages"][1]
    assert page == {
        "depth": 1,
        "worker": "MoviePageJob",
        "total": 136,
        "expected": 136,
        "states": {"completed": 70, "available": 63, "executing": 3},
        "verdict": "at_work",
        "stuck": None,
        "lost": None,
    }
    assert found["stages"][0]["depth"] == 0
    stuck = found["stages"][2]["stuck"]
    assert list(stuck) == ["since", "for_seconds", "waiting", "executing", "lost", "rule"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stuck["since"])


def test_failures_and_runs_have_the_shape_that_others_build_on(jobtrail: Jobtrail) -> None:
    (group,) = answer(jobtrail, "failures", "list")
    assert set(group) >= {
        "id",
        "source",
        "category",
        "error_type",
        "title",
        "occurrence_count",
        "job_count",
        "first_seen_at",
        "last_seen_at",
        "sample_external_ids",
    }
    assert group["first_seen_at"].endswith("Z")
    assert {run["root"] for run in answer(jobtrail, "runs", "list")} == {"12345", "evil"}
    shown = answer(jobtrail, "failures", "show", group["id"][:8])
    assert shown["id"] == group["id"]
    assert shown["newest"][0]["stacktrace"].startswith("Traceback")


def test_the_tree_is_a_few_lines_for_a_thousand_jobs(jobtrail: Jobtrail) -> None:
    status, out, _ = jobtrail("lineage", "tree", "12345")
    assert status == 0
    assert len(out.splitlines()) == 4
    assert "⚠ stuck for" in out
    assert "✗ movie_not_ready" in out


def test_every_answering_command_answers_in_both_forms(jobtrail: Jobtrail) -> None:
    for arguments in (
        ["lineage", "tree", "12345", "--edges", "all"],
        ["lineage", "stats", "12345"],
        ["lineage", "children", "12345"],
        ["lineage", "ancestors", "page-000-show-0"],
        ["lineage", "jobs", "12345", "--worker", "ShowtimeProcessJob", "--state", "discarded"],
        ["failures", "list", "--since", "10000d"],
        ["sources", "--since", "2026-11-22T00:00:00Z"],
        ["runs", "list"],
    ):
        answer(jobtrail, *arguments)
        status, out, err = jobtrail(*arguments)
        assert (status, err) == (0, ""), arguments
        assert out.strip(), arguments


def test_gaps_end_with_1_when_there_are_any(jobtrail: Jobtrail) -> None:
    found = answer(jobtrail, "lineage", "gaps", "12345", status=1)
    assert found["missing"] == []
    assert [group["without"] for group in found["childless"]] == [10]
    status, out, _ = jobtrail("lineage", "gaps", "12345")
    assert status == 1
    assert (
        "10 completed MoviePageJob spawned no MovieDetailJob, as 60 of their siblings did: #page-006" in out
    )
    status, out, _ = jobtrail("lineage", "gaps", "evil")
    assert (status, "no gaps" in out) == (0, True)


def test_an_unknown_job_is_answered_with_no(jobtrail: Jobtrail) -> None:
    for arguments in (
        ["lineage", "tree", "nope"],
        ["failures", "show", "00000000"],
        ["lineage", "children", "nope"],
    ):
        status, out, err = jobtrail(*arguments)
        assert (status, out, len(err.splitlines())) == (1, "", 1), arguments
        assert err.startswith("jobtrail: no ")


def test_what_cannot_be_done_is_said_in_a_line_and_ends_with_2(
    jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch, empty_database_url: str
) -> None:
    for arguments in (
        ["lineage", "jobs", "12345", "--state", "x"],
        ["nothing"],
        ["sources", "--since", "9y"],
    ):
        status, out, err = jobtrail(*arguments)
        assert (status, out, "Traceback" in err) == (2, "", False), arguments
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", empty_database_url)
    status, out, err = jobtrail("runs", "list")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "jobtrail migrate" in err
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", "postgresql://x:secret@127.0.0.1:1/none")
    status, out, err = jobtrail("runs", "list")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "secret" not in err
    monkeypatch.delenv("JOBTRAIL_DATABASE_URL")
    status, _, err = jobtrail("runs", "list")
    assert (status, "JOBTRAIL_DATABASE_URL is not set" in err) == (2, True)


def test_an_id_in_two_namespaces_asks_which(
    jobtrail: Jobtrail, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tell(
        database_url, [event("SyncJob", "12345", "completed", ago(), namespace="other", **root_of("12345"))]
    ).close()
    status, _, err = jobtrail("lineage", "stats", "12345")
    assert status == 2
    assert "kino, other" in err
    assert answer(jobtrail, "lineage", "stats", "12345", "--namespace", "other")["stages"][0]["total"] == 1
    monkeypatch.setenv("JOBTRAIL_NAMESPACE", "other")
    assert answer(jobtrail, "lineage", "stats", "12345")["namespace"] == "other"


def test_what_came_with_an_event_is_escaped(jobtrail: Jobtrail) -> None:
    for arguments in (["runs", "list"], ["lineage", "tree", "evil"], ["runs", "list", "--json"]):
        _, out, _ = jobtrail(*arguments)
        assert all(line.isprintable() for line in out.splitlines())
        assert "\\u202e" in out


def test_the_floor_of_stuck_is_a_setting(jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTRAIL_STUCK_FLOOR_SECONDS", str(10**9))
    assert all(stage["stuck"] is None for stage in answer(jobtrail, "lineage", "stats", "12345")["stages"])


def test_help_is_quick_and_needs_no_settings() -> None:
    """In seconds of the processor, which a busy machine does not change much."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBTRAIL_")}
    fastest = min(_seconds_of_help(environment) for _ in range(5))
    assert fastest < 0.3


def test_a_reader_that_has_enough_is_no_error(jobtrail: Jobtrail) -> None:
    shown = subprocess.run(
        [f"{sys.executable} -m cli.main lineage jobs 12345 --limit 2000 --json | head -1"],
        shell=True,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert (shown.stdout, shown.stderr) == ("{\n", "")


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs/answers.md").read_text(encoding="utf-8")
    lacking = []
    for path, found in commands(command, ("jobtrail",)):
        if f"`{' '.join(path)}" not in text:
            lacking.append(" ".join(path))
        options = [name for parameter in found.params for name in parameter.opts if name.startswith("--")]
        lacking += [f"{' '.join(path)}: {name}" for name in options if f"`{name}" not in text]
    assert lacking == []


def test_every_state_has_its_place_in_the_order_of_states() -> None:
    from schemas.contract import RANKS

    assert set(STATES) == set(RANKS)


def commands(group: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words to call it."""
    if isinstance(group, click.Group):
        for name, child in group.commands.items():
            yield from commands(child, (*path, name))
    else:
        yield path, group


def _seconds_of_help(environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", "cli.main", "--help"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
