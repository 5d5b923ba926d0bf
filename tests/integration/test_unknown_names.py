"""An unknown name is never answered with good news, but with status 1 and the known names."""

import psycopg
import pytest

from store.answers.failures import full_title
from tests.integration.command import Jobtrail, jobtrail_with
from tests.integration.story import ago, event, failure, incident, root_of, store_events


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Return a function that runs the command on a database with the incident."""
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)
    monkeypatch.delenv("JOBTRAIL_NAMESPACE", raising=False)

    store_events(database_url, incident()).close()
    return jobtrail_with(capsys)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (
            ("failures", "list", "--namespace", "kinoo"),
            "no such namespace: 'kinoo'; there are: kino. Did you mean 'kino'?",
        ),
        (("failures", "list", "--source", "nope"), "no such source: 'nope'; there are: "),
        (("failures", "list", "--category", "movie_not_redy"), "Did you mean 'movie_not_ready'?"),
        (("sources", "--namespace", "nope"), "no such namespace: 'nope'; there are: kino."),
        (("runs", "list", "--namespace", "nope"), "no such namespace: 'nope'; there are: kino."),
        (("lineage", "jobs", "12345", "--worker", "MoviePagesJob"), "Did you mean 'MoviePageJob'?"),
        (("lineage", "tree", "12345", "--namespace", "nope"), "no such namespace: 'nope'; there are: kino."),
        (
            ("lineage", "children", "12345", "--namespace", "nope"),
            "no such namespace: 'nope'; there are: kino.",
        ),
    ],
)
@pytest.mark.parametrize("form", [(), ("--json",)])
def test_unknown_name_is_an_error_that_lists_the_known_ones(
    jobtrail: Jobtrail, arguments: tuple[str, ...], error: str, form: tuple[str, ...]
) -> None:
    status, out, err = jobtrail(*arguments, *form)
    assert (status, out) == (1, "")
    assert error in err


def test_unknown_namespace_of_the_environment_is_an_error_too(
    jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOBTRAIL_NAMESPACE", "cinegraf")
    status, _, err = jobtrail("failures", "list")
    assert status == 1
    assert "no such namespace: 'cinegraf'" in err


def test_known_name_without_failures_is_good_news(jobtrail: Jobtrail, database_url: str) -> None:
    store_events(
        database_url, [event("CleanJob", "c", "completed", ago(minutes=1), source="clean", **root_of("c"))]
    ).close()
    assert jobtrail("failures", "list", "--source", "clean") == (0, "no failures.\n", "")
    status, out, _ = jobtrail("lineage", "jobs", "12345", "--worker", "MoviePageJob", "--state", "cancelled")
    assert (status, "0 jobs" in out) == (0, True)


def test_topic_without_dead_letters_is_unknown_only_if_other_topics_have_some(
    jobtrail: Jobtrail, database_url: str
) -> None:
    status, out, _ = jobtrail("dead-letters", "list", "--topic", "nope")
    assert (status, out.startswith("no dead letters")) == (0, True)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO jobtrail.dead_letters VALUES ('persistent://a/b/c', '1:1:0:-1', 'malformed', 'x', '', '', now(), 0)"
        )
    status, _, err = jobtrail("dead-letters", "list", "--topic", "nope")
    assert status == 1
    assert "there are: persistent://a/b/c" in err


def test_list_since_a_time_counts_since_then_and_names_worker_and_first_time(
    jobtrail: Jobtrail, database_url: str
) -> None:
    """It failed ten times yesterday and once now: since an hour ago, that is once of eleven times."""
    broken = failure("broken", "disk 7 is full", type="DiskError")
    old = [
        event(
            "DiskJob",
            str(number),
            "discarded",
            ago(hours=30),
            error=broken,
            source="disks",
            **root_of(str(number)),
        )
        for number in range(900, 910)
    ]
    new = event("DiskJob", "910", "discarded", ago(seconds=5), error=broken, source="disks", **root_of("910"))
    store_events(database_url, [*old, new]).close()
    status, out, _ = jobtrail("failures", "list", "--source", "disks", "--since", "1h")
    header, _, line = out.splitlines()[:3]
    assert status == 0
    assert header.split()[:5] == ["group", "times", "jobs", "of", "all"]
    assert line.split()[1:4] == ["1", "1", "11"]
    assert "DiskJob" in line
    assert "first seen" in header
    assert "namespace" in header
    assert jobtrail("failures", "list", "--source", "disks")[1].splitlines()[2].split()[1:3] == ["11", "11"]


def test_title_that_is_only_a_placeholder_has_the_type_before_it() -> None:
    assert full_title("KeyError", "<text>") == "KeyError: <text>"
    assert full_title("KeyError", "'<text>'") == "KeyError: '<text>'"
    assert full_title("", "<text>") == "<text>"
    assert full_title("NotReady", "movie <n> is not ready") == "movie <n> is not ready"
