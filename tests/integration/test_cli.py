"""The `jobtrail` command as people and programs use it: pages, JSON, exit statuses, one-line errors."""

import json
import os
import re
import resource
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

from cli.main import command
from store.answers.stages import STATES
from tests.integration.command import Jobtrail, jobtrail_with
from tests.integration.story import KINO, ago, event, incident, placed, root_of, store_events

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Return a function that runs the command on a database with the incident."""
    events = [*incident(), event("\x1b[31mEvil\u202eJob", "evil", "completed", ago(), **root_of("evil"))]
    store_events(database_url, events).close()
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)
    for name in ("JOBTRAIL_NAMESPACE", "JOBTRAIL_STUCK_FLOOR_SECONDS"):
        monkeypatch.delenv(name, raising=False)

    return jobtrail_with(capsys)


def answer(jobtrail: Jobtrail, *arguments: str, status: int = 0) -> Any:
    """Return the command's answer as parsed JSON."""
    ended, out, err = jobtrail(*arguments, "--json")
    assert (ended, err) == (status, "")
    return json.loads(out)


def test_stats_have_the_documented_shape(jobtrail: Jobtrail) -> None:
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
        "reused_ids": 0,
    }
    assert found["stages"][0]["depth"] == 0
    stuck = found["stages"][2]["stuck"]
    assert list(stuck) == ["since", "for_seconds", "waiting", "executing", "lost", "rule"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", stuck["since"])


def test_failures_and_runs_have_the_documented_shape(jobtrail: Jobtrail) -> None:
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


def test_the_tree_of_a_thousand_jobs_is_a_few_lines(jobtrail: Jobtrail) -> None:
    status, out, _ = jobtrail("lineage", "tree", "12345")
    assert status == 0
    assert len(out.splitlines()) == 4
    assert "⚠ stuck for" in out
    assert "✗ movie_not_ready" in out


def test_every_command_answers_as_a_page_and_as_json(jobtrail: Jobtrail) -> None:
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


def test_gaps_ends_with_1_when_there_are_any(jobtrail: Jobtrail) -> None:
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


def test_an_unknown_job_ends_with_1_and_a_one_line_error(jobtrail: Jobtrail) -> None:
    for arguments in (
        ["lineage", "tree", "nope"],
        ["failures", "show", "00000000"],
        ["lineage", "children", "nope"],
    ):
        status, out, err = jobtrail(*arguments)
        assert (status, out, len(err.splitlines())) == (1, "", 1), arguments
        assert err.startswith("jobtrail: no ")


def test_a_command_that_cannot_run_ends_with_2_and_a_one_line_error(
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


def test_the_error_for_an_unknown_id_says_that_external_ids_are_not_looked_up(jobtrail: Jobtrail) -> None:
    for asked in (("lineage", "tree", "film:0"), ("lineage", "jobs", "film:0", "--namespace", KINO)):
        status, out, err = jobtrail(*asked)
        assert (status, out) == (1, "")
        assert "no job with the id 'film:0'" in err
        assert "not by an external id" in err


@pytest.fixture
def lost(jobtrail: Jobtrail, database_url: str) -> Jobtrail:
    """Add a run in which one of three jobs of a stage has been executing for three days, as the root has."""
    start = ago(days=3)
    common = placed("r1", "r1", 1)
    minute = 60 * 1_000_000
    events = [event("Movie", "r1", "executing", start, started_at=start, **root_of("r1"))]
    events += [
        event("Render", f"c{at}", "completed", start + minute, started_at=start, **common) for at in (1, 2)
    ]
    events += [event("Render", "c3", "executing", start, started_at=start, **common)]
    store_events(database_url, events).close()
    return jobtrail


def test_a_lost_job_is_marked_on_every_page_and_in_all_json(lost: Jobtrail) -> None:
    _, tree, _ = lost("lineage", "tree", "r1")
    assert "⚠ 1 lost: executing for 3 d, the longest of its kind took 1 min" in tree
    _, stats, _ = lost("lineage", "stats", "r1")
    assert re.search(r"Render .*⚠ lost", stats)
    assert "Render: ⚠ 1 lost: executing for 3 d, the longest of its kind took 1 min" in stats
    for words in (
        ["jobs", "r1"],
        ["jobs", "r1", "--state", "executing"],
        ["children", "r1"],
        ["ancestors", "c3"],
    ):
        _, page, _ = lost("lineage", *words)
        assert "executing ⚠ lost" in page, words
    _, runs, _ = lost("runs", "list")
    assert re.search(r"^r1 .*⚠ lost", runs, re.MULTILINE)
    assert re.search(r"^12345 .*⚠ stuck", runs, re.MULTILINE)
    stage = answer(lost, "lineage", "stats", "r1")["stages"][1]
    assert (stage["verdict"], stage["lost"]["jobs"]) == ("lost", 1)
    assert list(stage["lost"]) == ["jobs", "since", "for_seconds", "rule"]
    node = answer(lost, "lineage", "tree", "r1")["tree"][0]
    assert (node["verdict"], node["children"][0]["lost"]["jobs"]) == ("lost", 1)
    assert [job["job_id"] for job in answer(lost, "lineage", "jobs", "r1")["jobs"] if job["lost"]] == [
        "r1",
        "c3",
    ]
    children = answer(lost, "lineage", "children", "r1")
    assert (children["lost"], [child["lost"] for child in children["children"]]) == (
        True,
        [False, False, True],
    )
    assert answer(lost, "lineage", "ancestors", "c3")["ancestors"][0]["lost"] is True
    verdicts = {run["root"]: run["verdict"] for run in answer(lost, "runs", "list")}
    assert verdicts == {"12345": "stuck", "evil": "over", "r1": "lost"}


@pytest.fixture
def chained(jobtrail: Jobtrail, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Jobtrail:
    """Add a run whose jobs name only their parents: 1,500 levels, more than the walk follows."""
    events = [event("Step", "0", "completed", ago(), expected_children={"Step": 1})]
    events += [
        event("Step", str(at), "completed", ago(), parent_job_id=str(at - 1)) for at in range(1, 1_500)
    ]
    events += [event("Leaf", f"leaf-{at}", "available", ago(), parent_job_id="0") for at in range(50)]
    store_events(database_url, events).close()
    return jobtrail


def test_ancestors_are_found_over_any_number_of_levels(chained: Jobtrail) -> None:
    status, out, _ = chained("lineage", "ancestors", "1499")
    assert status == 0
    assert "1499 ancestors" in out
    assert "the nearest 100 of them; 1399 more are farther (--limit)" in out
    assert "cut" not in out
    found = answer(chained, "lineage", "ancestors", "1499", "--limit", "2")
    assert (found["count"], [up["job_id"] for up in found["ancestors"]]) == (1_499, ["1497", "1498"])


def test_a_list_says_when_there_is_more(lost: Jobtrail) -> None:
    for words in (["runs", "list"], ["lineage", "jobs", "12345"], ["lineage", "children", "12345"]):
        _, out, _ = lost(*words, "--limit", "1")
        assert "(--limit)" in out.splitlines()[-1], words
    assert "(--limit)" not in lost("runs", "list", "--limit", "3")[1]
    assert len(answer(lost, "runs", "list", "--limit", "2")) == 2


def test_an_answer_that_was_cut_names_the_setting_and_has_no_warning(
    chained: Jobtrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS", "40")
    for words in (["tree", "0"], ["stats", "0"], ["jobs", "0"], ["children", "0"], ["ancestors", "1499"]):
        status, out, err = chained("lineage", *words)
        assert (status, err) == (0, ""), words
        assert "40 jobs were found by walking along edges" in out, words
        assert "Raise JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS" in out, words
        assert "⚠" not in out, words
        found = answer(chained, "lineage", *words)
        assert (found["cut"], found["cut_at_jobs"]) == (True, 40)
        assert found["cut_by"] == "JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS"


def test_gaps_of_a_run_that_was_cut_are_not_known(chained: Jobtrail, monkeypatch: pytest.MonkeyPatch) -> None:
    """The status is neither that of no gap nor that of gaps, because the question could not be answered."""
    assert chained("lineage", "gaps", "0")[0] == 0
    monkeypatch.setenv("JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS", "40")
    status, out, err = chained("lineage", "gaps", "0")
    assert (status, "no gaps" in out, "no gap among the jobs found" in out) == (2, False, True)
    assert "JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS" in err


def test_a_page_names_only_options_and_settings_that_exist(
    chained: Jobtrail, lost: Jobtrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every page is cut in every possible way."""
    from settings.answers import AnswersSettings

    settings = {f"JOBTRAIL_{name.upper()}" for name in AnswersSettings.model_fields}
    known = dict(commands(command, ()))
    seen = set()
    for limit in ("40", "100000"):
        monkeypatch.setenv("JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS", limit)
        for words, asked in (
            (("lineage", "tree"), ["0", "--lines", "2"]),
            (("lineage", "tree"), ["0", "--lines", "2000"]),
            (("lineage", "stats"), ["0"]),
            (("lineage", "children"), ["0", "--limit", "1"]),
            (("lineage", "ancestors"), ["1499", "--limit", "1"]),
            (("lineage", "jobs"), ["12345", "--limit", "1"]),
            (("lineage", "gaps"), ["12345", "--limit", "1"]),
            (("runs", "list"), ["--limit", "1"]),
            (("failures", "list"), ["--limit", "1"]),
            (("sources",), []),
        ):
            _, out, err = chained(*words, *asked)
            options = {name for parameter in known[words].params for name in parameter.opts}
            named = set(re.findall(r"(?<![\w`-])--[a-z][a-z-]*", out + err))
            assert named <= options, (words, named)
            assert set(re.findall(r"JOBTRAIL_\w+", out + err)) <= settings, words
            seen |= named
    assert seen == {"--limit", "--lines"}


def test_an_id_in_two_namespaces_needs_the_namespace(
    jobtrail: Jobtrail, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_events(
        database_url, [event("SyncJob", "12345", "completed", ago(), namespace="other", **root_of("12345"))]
    ).close()
    status, _, err = jobtrail("lineage", "stats", "12345")
    assert status == 2
    assert "kino, other" in err
    assert answer(jobtrail, "lineage", "stats", "12345", "--namespace", "other")["stages"][0]["total"] == 1
    monkeypatch.setenv("JOBTRAIL_NAMESPACE", "other")
    assert answer(jobtrail, "lineage", "stats", "12345")["namespace"] == "other"


def test_control_characters_of_events_are_escaped(jobtrail: Jobtrail) -> None:
    for arguments in (["runs", "list"], ["lineage", "tree", "evil"], ["runs", "list", "--json"]):
        _, out, _ = jobtrail(*arguments)
        assert all(line.isprintable() for line in out.splitlines())
        assert "\\u202e" in out


def test_the_floor_of_stuck_is_a_setting(jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOBTRAIL_STUCK_FLOOR_SECONDS", str(10**9))
    assert all(stage["stuck"] is None for stage in answer(jobtrail, "lineage", "stats", "12345")["stages"])


def test_help_is_quick_and_needs_no_settings() -> None:
    """Measured in CPU seconds, which a busy machine changes little."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBTRAIL_")}
    fastest = min(_seconds_of_help(environment) for _ in range(5))
    assert fastest < 0.3


def test_a_reader_that_stops_early_is_not_an_error(jobtrail: Jobtrail) -> None:
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


def test_every_state_is_in_the_order_of_states() -> None:
    from schemas.contract import RANKS

    assert set(STATES) == set(RANKS)


def commands(group: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command that is not a group, with the words that call it."""
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
