"""One id used for several jobs: noticed in any order of the events, and not mistaken for anything else."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psycopg
import pytest

from cli.main import run
from derive.fold import fold
from schemas.contract import Event
from servers.postgres_programs import NEWEST, OLDEST
from settings.database import DatabaseSettings
from store.answers.reused_ids import ReusedId, get_reused_ids
from store.connection import connect
from store.verify.run import verify
from store.writing.writer import prepare_session, write_batch
from testing.databases import Databases
from tests.integration.story import KINO, ago, event, failure, incident, placed, root_of, store_events

SLOW = failure("timeout", "no answer within 30 s")


def nightly(state: str, at: int, **fields: Any) -> Event:
    """Return an event of a cron job with a fixed id."""
    if state in ("retryable", "discarded"):
        fields = {"error": SLOW, **fields}
    return event("NightlyJob", "nightly", state, at, **{**root_of("nightly"), **fields})


@dataclass(frozen=True)
class Story:
    """What is published, and what must be shown: the state, and how the id was used again (None: it was not)."""

    name: str
    events: list[Event]
    state: str
    shown: dict[str, Any] | None = None
    other: list[Event] = field(default_factory=list)


THE_CASE = [
    nightly("executing", ago(days=3, minutes=1)),
    nightly("completed", ago(days=3)),
    nightly("executing", ago(days=2, minutes=1)),
    nightly("retryable", ago(days=2)),
    nightly("executing", ago(days=1, minutes=1)),
    nightly("retryable", ago(days=1)),
    nightly("executing", ago(minutes=5)),
]
DAILY = [nightly("completed", ago(days=day)) for day in (3, 2, 1)]

USED_AGAIN = [
    Story(
        "completed, failed twice, running",
        THE_CASE,
        "completed",
        {"attempt": 1, "ends": 3, "last_outcome": "retryable", "open_again_at": ago(minutes=5)},
    ),
    Story(
        "a cron job that never fails",
        DAILY,
        "completed",
        {"attempt": 1, "ends": 3, "last_outcome": "completed", "open_again_at": None},
    ),
    Story(
        "completed, and running now",
        [nightly("completed", ago(days=1)), nightly("executing", ago(minutes=3))],
        "completed",
        {"attempt": 1, "ends": 1, "last_outcome": "completed", "open_again_at": ago(minutes=3)},
    ),
    Story(
        "completed, and waiting again",
        [nightly("completed", ago(days=1)), nightly("available", ago(minutes=3))],
        "completed",
        {"ends": 1, "open_again_at": ago(minutes=3)},
    ),
    Story(
        "completed, and started again two minutes later",
        [nightly("completed", ago(minutes=10)), nightly("executing", ago(minutes=8))],
        "completed",
        {"ends": 1, "open_again_at": ago(minutes=8)},
    ),
    Story(
        "failed twice within two seconds, without another attempt",
        [nightly("retryable", ago(minutes=5)), nightly("retryable", ago(minutes=5, seconds=-2))],
        "retryable",
        {"attempt": 1, "ends": 2, "last_outcome": "retryable"},
    ),
    Story(
        "failed, and running again without another attempt",
        [nightly("retryable", ago(hours=1)), nightly("executing", ago(minutes=5))],
        "retryable",
        {"ends": 1, "open_again_at": ago(minutes=5)},
    ),
    Story(
        "completed then failed",
        [nightly("completed", ago(hours=2)), nightly("discarded", ago(hours=1))],
        "completed",
        {"ends": 2, "last_outcome": "discarded", "open_again_at": None},
    ),
    Story(
        "discarded at its third attempt, and completed at the same",
        [nightly("discarded", ago(hours=2), attempt=3), nightly("completed", ago(hours=1), attempt=3)],
        "completed",
        {"attempt": 3, "ends": 2, "last_outcome": "completed"},
    ),
    Story(
        "cancelled then completed",
        [nightly("cancelled", ago(hours=2)), nightly("completed", ago(hours=1))],
        "completed",
        {"ends": 2, "last_outcome": "completed"},
    ),
    Story(
        "two outcomes at one time",
        [nightly("cancelled", ago(hours=2)), nightly("completed", ago(hours=2))],
        "completed",
        {"ends": 2},
    ),
    Story(
        "an id of another worker's job",
        [
            nightly("completed", ago(hours=2)),
            event("MailJob", "nightly", "executing", ago(hours=1), queue="mail"),
        ],
        "completed",
        {"ends": 1, "open_again_at": ago(hours=1)},
    ),
    Story(
        "a run that needed two attempts, and one that executes its first",
        [
            nightly("retryable", ago(days=2)),
            nightly("completed", ago(days=2, minutes=-1), attempt=2),
            nightly("executing", ago(minutes=5)),
        ],
        "completed",
        {"open_again_at": ago(minutes=5)},
    ),
    Story(
        "a run that needed two attempts, and one that completed its first",
        [
            nightly("retryable", ago(days=2)),
            nightly("completed", ago(days=2, minutes=-1), attempt=2),
            nightly("executing", ago(days=1, minutes=1)),
            nightly("completed", ago(days=1)),
        ],
        "completed",
        {"attempt": 1, "ends": 2, "last_outcome": "completed", "open_again_at": None},
    ),
    Story(
        "a run that was lost in its second attempt, and one that failed in its first",
        [
            nightly("retryable", ago(days=2)),
            nightly("executing", ago(days=2, minutes=-1), attempt=2),
            nightly("retryable", ago(days=1)),
        ],
        "executing",
        {"attempt": 1, "ends": 2, "last_outcome": "retryable"},
    ),
]

NOT_USED_AGAIN = [
    Story(
        "one job in each of two namespaces",
        [nightly("completed", ago(days=1))],
        "completed",
        other=[nightly("discarded", ago(hours=1), namespace="kino-staging")],
    ),
    Story(
        "two attempts that both completed",
        [nightly("completed", ago(days=1)), nightly("completed", ago(hours=1), attempt=2)],
        "completed",
    ),
    Story(
        "a higher attempt for each run, as publishers are asked to give",
        [
            nightly("completed", ago(days=2), attempt=1),
            nightly("discarded", ago(days=1), attempt=2),
            nightly("executing", ago(minutes=5), attempt=3),
        ],
        "executing",
    ),
    Story(
        "a retry",
        [
            nightly("available", ago(minutes=30)),
            nightly("executing", ago(minutes=29)),
            nightly("retryable", ago(minutes=28)),
            nightly("scheduled", ago(minutes=28), attempt=2, scheduled_at=ago(minutes=20)),
            nightly("executing", ago(minutes=20), attempt=2),
            nightly("completed", ago(minutes=19), attempt=2),
        ],
        "completed",
    ),
    Story(
        "a job that postponed itself",
        [
            nightly("executing", ago(hours=3)),
            nightly("scheduled", ago(hours=3, seconds=-5), scheduled_at=ago(hours=1)),
            nightly("executing", ago(hours=1)),
            nightly("completed", ago(minutes=59)),
        ],
        "completed",
    ),
    Story(
        "a job that was postponed, and waits",
        [nightly("executing", ago(hours=3)), nightly("scheduled", ago(hours=2), scheduled_at=ago(hours=1))],
        "executing",
    ),
    Story(
        "a start by the clock of a host that is 30 seconds ahead",
        [nightly("completed", ago(minutes=10)), nightly("executing", ago(minutes=9, seconds=30))],
        "completed",
    ),
    Story(
        "a queue whose clock is a minute ahead",
        [nightly("available", ago(minutes=9)), nightly("completed", ago(minutes=10))],
        "completed",
    ),
    Story(
        "an end that was reported after the next attempt had ended",
        [
            nightly("executing", ago(hours=3)),
            nightly("executing", ago(hours=2), attempt=2),
            nightly("completed", ago(hours=2, minutes=-1), attempt=2),
            nightly("retryable", ago(hours=1)),
        ],
        "completed",
    ),
    Story(
        "a failed job that waits, reported with the number of the attempt that failed",
        [nightly("retryable", ago(hours=1)), nightly("available", ago(minutes=5))],
        "retryable",
    ),
    Story(
        "a start that is reported again, with more fields",
        [
            nightly("executing", ago(hours=1)),
            nightly("executing", ago(hours=1), expected_children={"PageJob": 3}),
            nightly("completed", ago(minutes=59)),
        ],
        "completed",
    ),
]

ORDERS: dict[str, Callable[[list[Event]], list[list[Event]]]] = {
    "one batch": lambda events: [events],
    "one by one": lambda events: [[one] for one in events],
    "one by one, the last first": lambda events: [[one] for one in reversed(events)],
    "pairs, each event twice": lambda events: (
        [list(pair) for pair in pairwise([*events, *events])] or [events]
    ),
}


@dataclass
class Place:
    """A database for many stories, each in namespaces of its own."""

    writing: psycopg.Connection
    reading: psycopg.Connection
    stories: int = 0

    def write(self, story: Story, order: str) -> tuple[str, ReusedId | None]:
        """Write the story in this order; return the job's state, and how its id was used again."""
        self.stories += 1
        batches = ORDERS[order](story.events) + ([story.other] if story.other else [])
        for batch in batches:
            named = [one._replace(namespace=f"{one.namespace}-{self.stories}") for one in batch]
            write_batch(self.writing, fold(named))
        key = (f"{KINO}-{self.stories}", "nightly")
        row = self.reading.execute(
            "SELECT state FROM jobs WHERE namespace = %s AND job_id = %s", key
        ).fetchone()
        assert row is not None
        return row[0], get_reused_ids(self.reading, [key, (KINO, "nobody")]).get(key)


@pytest.fixture(scope="module", params=[OLDEST, NEWEST], ids="postgres{}".format)
def place(databases_of: Callable[[int], Databases], request: pytest.FixtureRequest) -> Iterator[Place]:
    with databases_of(request.param).migrated() as url:
        settings = DatabaseSettings.load(database_url=url)
        with (
            closing(connect(settings, "jobtrail test")) as writing,
            closing(connect(settings, "jobtrail test", autocommit=True)) as reading,
        ):
            prepare_session(writing)
            yield Place(writing, reading)


@pytest.mark.parametrize("story", USED_AGAIN, ids=lambda story: story.name)
def test_an_id_that_is_used_again_is_noticed_in_every_order(place: Place, story: Story) -> None:
    """The state is unchanged, and what it hides is shown beside it."""
    for order in ORDERS:
        state, reused = place.write(story, order)
        assert (state, reused is not None) == (story.state, True), order
        assert reused is not None
        assert story.shown is not None
        shown = {name: _plain(value) for name, value in reused._asdict().items()}
        assert {name: shown[name] for name in story.shown} == story.shown, order


@pytest.mark.parametrize("story", NOT_USED_AGAIN, ids=lambda story: story.name)
def test_what_may_happen_to_any_job_is_not_mistaken_for_a_reused_id(place: Place, story: Story) -> None:
    for order in ORDERS:
        assert place.write(story, order) == (story.state, None), order


def test_nothing_is_concluded_from_attempts_that_retention_removed(place: Place) -> None:
    """The job is kept because of its run, but only the removed attempt shows that its last event was an end."""
    (late,) = (story for story in NOT_USED_AGAIN if story.name.startswith("an end that was reported after"))
    place.write(late, "one batch")
    key = (f"{KINO}-{place.stories}", "nightly")
    with place.reading.transaction(force_rollback=True):
        place.reading.execute("DELETE FROM attempts WHERE namespace = %s", key[:1])
        assert get_reused_ids(place.reading, [key])
        place.reading.execute(
            "UPDATE jobtrail_control.horizon SET horizon_at = date_trunc('day', now() + interval '1 day', 'UTC')"
        )
        assert get_reused_ids(place.reading, [key]) == {}


def test_verify_finds_no_difference_in_what_these_stories_wrote(place: Place) -> None:
    place.write(USED_AGAIN[0], "one by one")
    assert list(verify(place.reading)) == []


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return a function that runs the command on this case and an incident with one such job, and returns its output."""
    child = event("MailJob", "mail", "executing", ago(minutes=5), **placed("nightly", "nightly", 1))
    again = event(
        "ShowtimeProcessJob", "page-000-show-0", "completed", ago(minutes=2), **placed("12345", "page-000", 2)
    )
    store_events(database_url, [*THE_CASE, child, *incident(), again]).close()
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)

    def called(*arguments: str) -> str:
        assert run(list(arguments)) == 0
        return capsys.readouterr().out

    return called


WHY = "⚠ NightlyJob #nightly of kino: id used again: 3 ends of attempt 1; the last end: retryable at "


@pytest.mark.parametrize(
    "asked",
    [
        ("runs", "list"),
        ("lineage", "jobs", "nightly"),
        ("lineage", "jobs", "nightly", "--state", "completed"),
        ("lineage", "children", "nightly"),
        ("lineage", "ancestors", "nightly"),
        ("lineage", "ancestors", "mail"),
    ],
    ids=" ".join,
)
def test_such_a_job_is_marked_with_the_reason_wherever_it_is_shown(
    jobtrail: Callable[..., str], asked: tuple[str, ...]
) -> None:
    page = jobtrail(*asked)
    assert page.count("completed ⚠ id used again") == 1
    assert page.count(WHY) == 1
    assert "; waiting or executing again at " in page


def test_a_tree_and_its_stages_count_such_jobs(jobtrail: Callable[..., str]) -> None:
    assert "NightlyJob #nightly  completed     ⚠ id used again\n" in jobtrail("lineage", "tree", "nightly")
    assert "completed 1 · discarded 1084     ⚠ id used again  ✗" in jobtrail("lineage", "tree", "12345")
    assert "ShowtimeProcessJob: ⚠ id used again\n" in jobtrail("lineage", "stats", "12345")
    assert "⚠ run #12345 of kino: id used again of a job below it" in jobtrail("runs", "list")


def test_json_has_the_numbers_of_such_jobs(jobtrail: Callable[..., str]) -> None:
    runs = {found["root"]: found for found in json.loads(jobtrail("runs", "list", "--json"))}
    assert {root: (found["reused_ids"], bool(found["reused_id"])) for root, found in runs.items()} == {
        "nightly": (1, True),
        "12345": (1, False),
    }
    nightly_id = runs["nightly"]["reused_id"]
    assert (nightly_id["attempt"], nightly_id["ends"], nightly_id["last_outcome"]) == (1, 3, "retryable")
    assert nightly_id["last_ended_at"].endswith("Z")
    jobs = json.loads(jobtrail("lineage", "jobs", "nightly", "--json"))["jobs"]
    assert [job["reused_id"] for job in jobs] == [nightly_id, None]
    assert json.loads(jobtrail("lineage", "children", "nightly", "--json"))["reused_id"] == nightly_id
    (above,) = json.loads(jobtrail("lineage", "ancestors", "mail", "--json"))["ancestors"]
    assert above["reused_id"] == nightly_id
    stages = json.loads(jobtrail("lineage", "stats", "12345", "--json"))["stages"]
    assert {stage["worker"]: stage["reused_ids"] for stage in stages} == {
        "SyncJob": 0,
        "MoviePageJob": 0,
        "MovieDetailJob": 0,
        "ShowtimeProcessJob": 1,
    }
    (top,) = json.loads(jobtrail("lineage", "tree", "nightly", "--json"))["tree"]
    assert top["reused_ids"] == 1


def test_a_job_that_names_only_its_parent_is_counted_in_the_tree(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found by its edge, because the index of runs lacks it."""
    page = [event("PageJob", "p", "completed", ago(days=day), parent_job_id="r") for day in (2, 1)]
    store_events(database_url, [event("SyncJob", "r", "executing", ago(days=2)), *page]).close()
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)
    assert run(["lineage", "tree", "r"]) == 0
    assert "PageJob #p  completed     ⚠ id used again" in capsys.readouterr().out


def _plain(value: Any) -> Any:
    return int(value.timestamp() * 1_000_000) if hasattr(value, "timestamp") else value
