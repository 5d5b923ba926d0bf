"""Verdicts of stages, jobs and runs: the same in every answer, from tables that the real writer filled."""

from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from schemas.contract import Event
from store.answers.jobs import get_jobs
from store.answers.lineage import get_ancestors, get_children, get_job_tree, get_pipeline_stats
from store.answers.runs import get_runs
from store.answers.tree import Node
from store.answers.verdicts import Name, StuckRule
from tests.integration.story import KINO, NOW, ago, case, event, failure, placed, root_of, store_events

THREE_DAYS_LATER = datetime.fromtimestamp(1795621789, UTC) + timedelta(days=3)
"""Later than all events of the case "lost"."""


@pytest.fixture
def lost_case(database_url_each: str) -> Iterator[psycopg.Connection]:
    """Yield a connection: two jobs took 60 s; a third of the same stage and the root have been executing for three days."""
    with closing(store_events(database_url_each, case("lost"))) as connection:
        yield connection


def verdicts_of(
    database_url: str, events: Iterable[Event], root: str = "w", **asked: Any
) -> dict[str, Name | None]:
    """Return the verdict of each stage, by worker, and that of the whole run as 'run'."""
    with closing(store_events(database_url, events)) as connection:
        stages = get_pipeline_stats(connection, KINO, root, now=NOW, **asked).stages
        (run,) = [run for run in get_runs(connection, KINO, now=NOW, **asked) if run.root == root]
        return {stage.worker: stage.name for stage in stages} | {"run": run.verdict}


def lines_of(nodes: tuple[Node, ...]) -> Iterator[Node]:
    for node in nodes:
        yield node
        yield from lines_of(node.children)


def executing(worker: str, job_id: str, at: int, **fields: Any) -> Event:
    return event(worker, job_id, "executing", at, started_at=at, **fields)


def completed(worker: str, job_id: str, start: int, took_seconds: float, **fields: Any) -> Event:
    end = start + int(took_seconds * 1_000_000)
    return event(worker, job_id, "completed", end, started_at=start, **fields)


def test_a_lost_job_is_lost_wherever_jobs_are_shown(lost_case: psycopg.Connection) -> None:
    asked: dict[str, Any] = {"now": THREE_DAYS_LATER}
    stages = {stage.worker: stage for stage in get_pipeline_stats(lost_case, "oom", "r1", **asked).stages}
    assert {worker: stage.name for worker, stage in stages.items()} == {"Movie": "lost", "Render": "lost"}
    render = stages["Render"].lost
    assert render is not None
    assert render.jobs == 1
    assert render.for_seconds == pytest.approx(3 * 86_400, abs=1)
    assert render.rule == "executing for 2 d, the longest of its kind took 1 min"
    lines = {
        node.worker: node.verdict for node in lines_of(get_job_tree(lost_case, "oom", "r1", **asked).tops)
    }
    assert {worker: verdict and verdict.name for worker, verdict in lines.items()} == {
        "Movie": "lost",
        "Render": "lost",
    }
    jobs = get_jobs(lost_case, "oom", "r1", **asked).jobs
    assert {job.job_id: job.lost for job in jobs} == {"r1": True, "c1": False, "c2": False, "c3": True}
    children = get_children(lost_case, "oom", "r1", **asked)
    assert {child.job_id: child.lost for child in children.jobs} == {"c1": False, "c2": False, "c3": True}
    assert children.job_lost
    above = get_ancestors(lost_case, "oom", "c3", **asked)
    assert [(up.job_id, up.lost) for up in above.ancestors] == [("r1", True)]
    assert above.job_lost
    (run,) = get_runs(lost_case, "oom", **asked)
    assert run.verdict == "lost"
    # If only the one job is asked about, it is still judged by its whole stage.
    (alone,) = get_pipeline_stats(lost_case, "oom", "c3", **asked).stages
    assert alone.name == "lost"


def test_a_job_is_at_work_until_the_floor_and_lost_after_it(lost_case: psycopg.Connection) -> None:
    started = datetime.fromtimestamp(1795621789, UTC)
    for after, name in ((timedelta(minutes=59), "at_work"), (timedelta(hours=1.1), "lost")):
        stages = get_pipeline_stats(lost_case, "oom", "r1", now=started + after).stages
        assert {stage.worker: stage.name for stage in stages}["Render"] == name


def test_a_job_of_a_kind_that_never_completed_is_lost_after_a_day(database_url: str) -> None:
    one = [event("flow", "w", "completed", ago(hours=30), **root_of("w"))]
    events = [*one, executing("fetch", "x", ago(hours=25), **placed("w", "w", 1))]
    assert verdicts_of(database_url, events) == {"flow": "over", "fetch": "lost", "run": "lost"}


def test_short_failures_do_not_make_a_long_job_lost(database_url: str) -> None:
    """Three jobs failed after a second; how long a successful one takes is not known."""
    common = placed("w", "w", 1)
    events = [event("flow", "w", "completed", ago(hours=9), **root_of("w"))]
    events += [
        event(
            "fetch",
            f"f{at}",
            "discarded",
            ago(hours=8),
            started_at=ago(hours=8, seconds=1),
            error=failure("timeout", "no"),
            **common,
        )
        for at in range(3)
    ]
    events.append(executing("fetch", "x", ago(hours=7), **common))
    assert verdicts_of(database_url, events)["fetch"] == "at_work"


def test_a_job_whose_kind_runs_long_is_at_work(database_url: str) -> None:
    """Another job of the stage took ten hours, so this one may take days."""
    common = placed("w", "w", 1)
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        completed("train", "a", ago(days=4), 10 * 3_600, **common),
        executing("train", "b", ago(days=3), **common),
    ]
    assert verdicts_of(database_url, events)["train"] == "at_work"


def test_a_stage_with_one_lost_job_among_others_at_work_is_lost(database_url: str) -> None:
    common = placed("w", "w", 1)
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        *(completed("fetch", f"c{at}", ago(minutes=50), 60, **common) for at in range(20)),
        *(executing("fetch", f"x{at}", ago(minutes=1), **common) for at in range(3)),
        executing("fetch", "killed", ago(hours=5), **common),
        event("fetch", "waits", "available", ago(minutes=5), **common),
    ]
    with closing(store_events(database_url, events)) as connection:
        stages = {stage.worker: stage for stage in get_pipeline_stats(connection, KINO, "w", now=NOW).stages}
        lost = [job.job_id for job in get_jobs(connection, KINO, "w", now=NOW).jobs if job.lost]
    found = stages["fetch"].lost
    assert found is not None
    assert (stages["fetch"].name, found.jobs, lost) == ("lost", 1, ["killed"])


def test_a_root_that_waits_for_its_jobs_is_not_lost(database_url: str) -> None:
    """It executes for as long as its run does, here for three days."""
    root = executing("flow", "w", ago(days=3), **root_of("w"))
    at_work = executing("fetch", "x", ago(minutes=1), **placed("w", "w", 1))
    assert verdicts_of(database_url, [root, at_work]) == {
        "flow": "at_work",
        "fetch": "at_work",
        "run": "at_work",
    }


def test_a_root_that_waits_for_a_stuck_stage_is_not_marked_itself(database_url: str) -> None:
    root = executing("flow", "w", ago(days=3), **root_of("w"))
    waits = event("fetch", "x", "available", ago(days=3), **placed("w", "w", 1))
    assert verdicts_of(database_url, [root, waits]) == {"flow": "at_work", "fetch": "stuck", "run": "stuck"}


def test_a_job_is_not_lost_while_a_job_far_below_it_is_at_work(database_url: str) -> None:
    """The stages between them are quiet as well, and none of them is lost."""
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        executing("outer", "a", ago(days=3), **placed("w", "w", 1)),
        executing("inner", "b", ago(days=3), **placed("w", "a", 2)),
        executing("fetch", "c", ago(minutes=2), **placed("w", "b", 3)),
    ]
    assert set(verdicts_of(database_url, events).values()) == {"over", "at_work"}


def test_a_job_whose_children_ended_long_ago_is_lost(database_url: str) -> None:
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        executing("outer", "a", ago(days=3), **placed("w", "w", 1)),
        completed("fetch", "c", ago(days=3), 60, **placed("w", "a", 2)),
    ]
    assert verdicts_of(database_url, events)["outer"] == "lost"


def test_a_job_that_only_spawned_a_job_for_next_month_is_lost(database_url: str) -> None:
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        executing("outer", "a", ago(days=3), **placed("w", "w", 1)),
        event("remind", "c", "scheduled", ago(days=3), scheduled_at=ago(days=-30), **placed("w", "a", 2)),
    ]
    assert verdicts_of(database_url, events) == {
        "flow": "over",
        "outer": "lost",
        "remind": "waiting",
        "run": "lost",
    }


@pytest.mark.parametrize("says", ["root", "nothing"])
def test_a_lone_job_is_judged_by_the_earlier_runs_of_its_worker(database_url: str, says: str) -> None:
    """The runs of a cron job without children took a minute; today's has been executing for two hours."""

    def place(job_id: str) -> dict[str, Any]:
        return root_of(job_id) if says == "root" else {}

    events = [completed("nightly", f"n{day}", ago(days=day), 60, **place(f"n{day}")) for day in range(1, 4)]
    events += [
        executing("nightly", "n0", ago(hours=2), **place("n0")),
        executing("backup", "first", ago(hours=2), **place("first")),
        *(completed("other", f"o{at}", ago(minutes=at), 3 * 3_600, **place(f"o{at}")) for at in range(30)),
    ]
    with closing(store_events(database_url, events)) as connection:
        runs = {run.root: run.verdict for run in get_runs(connection, KINO, now=NOW, limit=100)}
        (stage,) = get_pipeline_stats(connection, KINO, "n0", now=NOW).stages
        (job,) = get_jobs(connection, KINO, "n0", now=NOW).jobs
    assert (runs["n0"], runs["first"], runs["n1"]) == ("lost", "at_work", "over")
    assert (stage.name, job.lost) == ("lost", True)
    assert stage.lost is not None
    assert stage.lost.rule == "executing for 2 h, the longest of its kind took 1 min"


def test_a_stage_is_judged_by_the_same_stage_of_earlier_runs(database_url: str) -> None:
    events = [event("flow", "old", "completed", ago(days=2), **root_of("old"))]
    events += [completed("fetch", f"o{at}", ago(days=2), 60, **placed("old", "old", 1)) for at in range(3)]
    events += [
        event("flow", "w", "completed", ago(hours=3), **root_of("w")),
        executing("fetch", "x", ago(hours=2), **placed("w", "w", 1)),
        executing("store", "y", ago(hours=2), **placed("w", "w", 1)),
    ]
    assert verdicts_of(database_url, events) == {
        "flow": "over",
        "fetch": "lost",
        "store": "at_work",
        "run": "lost",
    }


def test_a_stage_with_few_jobs_is_at_work_if_an_earlier_run_took_long(database_url: str) -> None:
    events = [event("flow", "old", "completed", ago(days=2), **root_of("old"))]
    events += [completed("fetch", "o", ago(days=2), 3 * 3_600, **placed("old", "old", 1))]
    events += [
        event("flow", "w", "completed", ago(hours=3), **root_of("w")),
        completed("fetch", "quick", ago(hours=3), 1, **placed("w", "w", 1)),
        executing("fetch", "x", ago(hours=2), **placed("w", "w", 1)),
    ]
    assert verdicts_of(database_url, events)["fetch"] == "at_work"


def test_a_run_whose_jobs_are_all_lost_is_lost(database_url: str) -> None:
    events = [executing("flow", "w", ago(days=3), **root_of("w"))]
    events += [executing("fetch", f"x{at}", ago(days=3), **placed("w", "w", 1)) for at in range(5)]
    assert verdicts_of(database_url, events) == {"flow": "lost", "fetch": "lost", "run": "lost"}


def test_a_retry_is_stuck_after_its_time_and_waits_before_it(database_url: str) -> None:
    def retry(worker: str, at: int) -> Event:
        error = failure("timeout", "no")
        return event(
            worker,
            worker,
            "retryable",
            ago(hours=3),
            started_at=ago(hours=3, seconds=1),
            scheduled_at=at,
            error=error,
            **placed("w", "w", 1),
        )

    events = [
        event("flow", "w", "completed", ago(hours=4), **root_of("w")),
        retry("late", ago(hours=2)),
        retry("early", ago(hours=-2)),
    ]
    assert verdicts_of(database_url, events) == {
        "flow": "over",
        "late": "stuck",
        "early": "waiting",
        "run": "stuck",
    }


def test_a_job_scheduled_in_the_past_and_never_started_is_stuck(database_url: str) -> None:
    """Also as a run of its own, whose publisher sends no roots."""
    events = [event("report", "w", "scheduled", ago(days=2), scheduled_at=ago(days=1))]
    assert verdicts_of(database_url, events) == {"report": "stuck", "run": "stuck"}


def test_a_job_scheduled_for_later_waits(database_url: str) -> None:
    events = [event("report", "w", "scheduled", ago(days=2), scheduled_at=ago(days=-1), **root_of("w"))]
    assert verdicts_of(database_url, events) == {"report": "waiting", "run": "waiting"}


def test_jobs_that_wait_for_others_are_waiting_even_just_after_they_were_queued(
    database_url: str,
) -> None:
    events = [
        event("flow", "w", "completed", ago(hours=4), **root_of("w")),
        executing("split", "s", ago(minutes=1), **placed("w", "w", 1)),
        event("merge", "m", "available", ago(seconds=10), depends_on=["s"], **placed("w", "w", 1)),
        event("other", "o", "available", ago(seconds=10), **placed("w", "w", 1)),
    ]
    assert verdicts_of(database_url, events) == {
        "flow": "over",
        "split": "at_work",
        "merge": "waiting",
        "other": "at_work",
        "run": "at_work",
    }


def test_the_verdicts_of_a_part_of_a_run_are_those_of_the_whole_run(database_url: str) -> None:
    """The details of one page wait while those of another are at work: nothing is stuck."""
    events = [
        event("sync", "w", "completed", ago(hours=4), **root_of("w")),
        *(completed("page", f"p{at}", ago(hours=3), 1, **placed("w", "w", 1)) for at in range(2)),
        event("detail", "waits", "available", ago(hours=2), **placed("w", "p0", 2)),
        executing("detail", "works", ago(minutes=1), **placed("w", "p1", 2)),
    ]
    with closing(store_events(database_url, events)) as connection:
        for root in ("w", "p0", "waits"):
            stages = get_pipeline_stats(connection, KINO, root, now=NOW).stages
            assert {stage.worker: stage.name for stage in stages}["detail"] == "at_work", root


def test_there_are_no_verdicts_when_the_walk_was_cut(database_url: str) -> None:
    """The executing job may be among those that were not reached."""
    events = [event("sync", "w", "completed", ago(hours=4), expected_children={"page": 30})]
    events += [event("page", f"p{at:02}", "available", ago(hours=3), parent_job_id="w") for at in range(29)]
    events += [executing("page", "p29", ago(minutes=1), parent_job_id="w")]
    with closing(store_events(database_url, events)) as connection:
        whole = get_pipeline_stats(connection, KINO, "w", now=NOW).stages
        part = get_pipeline_stats(connection, KINO, "w", now=NOW, limit_jobs=10)
    assert [(stage.name, stage.spawned) for stage in whole] == [("over", None), ("at_work", None)]
    assert part.cut_at == 10
    assert [(stage.total, stage.verdict, stage.spawned) for stage in part.stages] == [
        (1, None, None),
        (10, None, None),
    ]


def test_the_caller_sets_the_floors(lost_case: psycopg.Connection) -> None:
    patient = StuckRule(lost_floor_seconds=30 * 86_400)
    (run,) = get_runs(lost_case, "oom", now=THREE_DAYS_LATER, rule=patient)
    assert run.verdict == "at_work"


def test_jobs_without_a_start_are_judged_by_when_they_entered_their_state(database_url: str) -> None:
    """If a publisher never sends started_at, how long its jobs took is not known, so a day is allowed."""
    common = placed("w", "w", 1)
    events = [
        event("flow", "w", "completed", ago(days=5), **root_of("w")),
        event("fetch", "a", "completed", ago(hours=20), **common),
        event("fetch", "b", "executing", ago(hours=23), **common),
        event("store", "c", "executing", ago(hours=25), **common),
    ]
    assert verdicts_of(database_url, events) == {
        "flow": "over",
        "fetch": "at_work",
        "store": "lost",
        "run": "lost",
    }
