"""Publishers that send little: no root, depth, queue or start, only ends. Their jobs are runs like all others."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any

import psycopg
import pytest

from schemas.contract import Event
from schemas.errors import NotFoundError
from store.answers.gaps import get_gaps
from store.answers.jobs import get_jobs
from store.answers.lineage import get_ancestors, get_children, get_job_tree, get_pipeline_stats
from store.answers.runs import LISTED_WALK_LIMIT, get_runs
from store.answers.scope import find_namespace
from store.answers.tree import Node
from tests.integration.story import KINO, NOW, ago, event, placed, root_of, store_events

LEAST = {"queue": "", "max_attempts": 0}
"""The fields that `story.event` would otherwise fill."""


def minimal_event(worker: str, job_id: str, state: str, at: int, parent: str = "", **fields: Any) -> Event:
    """Return an event with only the required fields, and the parent if there is one."""
    place = {"parent_job_id": parent} if parent else {}
    return event(worker, job_id, state, at, **LEAST, **place, **fields)


def family() -> list[Event]:
    """Return the ends of a root, two children and a grandchild, without root and depth."""
    return [
        minimal_event("SyncJob", "r", "completed", ago(minutes=30)),
        minimal_event("PageJob", "a", "completed", ago(minutes=20), "r"),
        minimal_event("PageJob", "b", "discarded", ago(minutes=20), "r"),
        minimal_event("DetailJob", "c", "cancelled", ago(minutes=10), "a"),
    ]


def runs_of(connection: psycopg.Connection, **asked: Any) -> dict[str, int]:
    return {run.root: run.total for run in get_runs(connection, now=NOW, **asked)}


def workers_of(nodes: Iterable[Node]) -> list[Any]:
    return [(node.worker, node.total, workers_of(node.children)) for node in nodes]


def test_a_root_without_root_and_depth_is_a_run_with_all_jobs_below_it(database_url_each: str) -> None:
    with closing(store_events(database_url_each, family())) as connection:
        (run,) = get_runs(connection, KINO, now=NOW)
        assert (run.root, run.worker, run.state, run.verdict) == ("r", "SyncJob", "completed", "over")
        assert (run.total, run.completed, run.discarded, run.cancelled) == (4, 2, 1, 1)
        assert run.last_change_at is not None
        assert (NOW - run.last_change_at).total_seconds() == 600
        assert runs_of(connection) == {"r": 4}


def test_every_answer_about_such_a_run_is_complete(database_url: str) -> None:
    with closing(store_events(database_url, family())) as connection:
        stages = get_pipeline_stats(connection, KINO, "r", now=NOW).stages
        assert {(stage.depth, stage.worker): stage.total for stage in stages} == {
            (0, "SyncJob"): 1,
            (1, "PageJob"): 2,
            (2, "DetailJob"): 1,
        }
        tree = get_job_tree(connection, KINO, "r", now=NOW)
        assert workers_of(tree.tops) == [("SyncJob", 1, [("PageJob", 2, [("DetailJob", 1, [])])])]
        jobs = get_jobs(connection, KINO, "r", now=NOW)
        assert {job.job_id: (job.depth, job.parent_job_id) for job in jobs.jobs} == {
            "r": (0, None),
            "a": (1, "r"),
            "b": (1, "r"),
            "c": (2, "a"),
        }
        assert get_children(connection, KINO, "r", now=NOW).descendants == 3
        assert [up.job_id for up in get_ancestors(connection, KINO, "c", now=NOW).ancestors] == ["r", "a"]
        assert get_gaps(connection, KINO, "r", now=NOW).none


def test_a_job_in_the_middle_of_a_run_has_its_depth_in_the_run(database_url: str) -> None:
    with closing(store_events(database_url, family())) as connection:
        stages = get_pipeline_stats(connection, KINO, "a", now=NOW).stages
    assert [(stage.depth, stage.worker, stage.total) for stage in stages] == [
        (1, "PageJob", 1),
        (2, "DetailJob", 1),
    ]


@pytest.mark.parametrize(
    "place",
    [{}, {"root_job_id": "r"}, {"root_job_id": "r", "depth": 0}, {"depth": 0}, {"parent_job_id": "r"}],
    ids=["nothing", "root", "root-depth", "depth", "itself-as-parent"],
)
def test_a_root_is_a_run_with_any_of_the_fields_of_its_place(
    database_url: str, place: dict[str, Any]
) -> None:
    events = [
        event("SyncJob", "r", "completed", ago(minutes=30), **place),
        event("PageJob", "says-parent", "completed", ago(minutes=20), parent_job_id="r"),
        event("PageJob", "says-root", "completed", ago(minutes=20), root_job_id="r"),
        event("PageJob", "says-all", "completed", ago(minutes=20), **placed("r", "r", 1)),
        event("DetailJob", "below", "completed", ago(minutes=20), parent_job_id="says-all"),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert runs_of(connection) == {"r": 5}
        stages = get_pipeline_stats(connection, KINO, "r", now=NOW).stages
        assert {(stage.depth, stage.worker): stage.total for stage in stages} == {
            (0, "SyncJob"): 1,
            (1, "PageJob"): 2,
            (2, "DetailJob"): 1,
            (-1, "PageJob"): 1,
        }
        (top,) = [
            node for node in get_job_tree(connection, KINO, "r", now=NOW).tops if node.worker == "SyncJob"
        ]
        assert top.job_id == "r"


def test_a_job_with_a_parent_or_another_root_is_not_a_run(database_url: str) -> None:
    events = [
        minimal_event("SyncJob", "r", "completed", ago(minutes=30)),
        minimal_event("PageJob", "a", "completed", ago(minutes=20), "r"),
        event("PageJob", "b", "completed", ago(minutes=20), root_job_id="r"),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert list(runs_of(connection)) == ["r"]


def test_a_later_event_with_a_real_root_wins(database_url: str) -> None:
    """An end has no root, and a start has one; they come in either order."""
    start = event("PageJob", "a", "executing", ago(minutes=20), **placed("r", "r", 1))
    end = minimal_event("PageJob", "a", "completed", ago(minutes=10))
    root = event("SyncJob", "r", "completed", ago(minutes=30), **root_of("r"))
    for order in ([root, end, start], [root, start, end]):
        with closing(store_events(database_url, [order[0], order[1]])):
            pass
        with closing(store_events(database_url, [order[2]])) as connection:
            assert runs_of(connection) == {"r": 2}
            connection.execute("TRUNCATE jobs, lineage_edges")


def test_jobs_without_any_place_are_runs_of_their_own(database_url: str) -> None:
    events = [minimal_event("Job", f"j{at}", "completed", ago(minutes=at)) for at in range(5)]
    events += [event("Job", "elsewhere", "available", ago(minutes=9), namespace="other")]
    with closing(store_events(database_url, events)) as connection:
        assert runs_of(connection) == {**{f"j{at}": 1 for at in range(5)}, "elsewhere": 1}
        assert list(runs_of(connection, limit=2)) == ["j0", "j1"]
        assert runs_of(connection, namespace="other") == {"elsewhere": 1}
        with pytest.raises(NotFoundError, match="no such namespace: 'nowhere'"):
            runs_of(connection, namespace="nowhere")


def test_children_of_a_parent_without_an_event_are_found_by_its_id(database_url: str) -> None:
    """Their publisher sends only ends, and the parent has not ended."""
    events = [minimal_event("PageJob", f"p{at}", "completed", ago(minutes=5), "unseen") for at in range(3)]
    with closing(store_events(database_url, events)) as connection:
        assert find_namespace(connection, "unseen") == KINO
        stages = get_pipeline_stats(connection, KINO, "unseen", now=NOW).stages
        assert [(stage.depth, stage.worker, stage.total) for stage in stages] == [(1, "PageJob", 3)]
        with pytest.raises(NotFoundError):
            find_namespace(connection, "never-named")


def test_jobs_that_name_each_other_as_parent_are_shown_once_each(database_url: str) -> None:
    events = [
        minimal_event("LoopJob", "a", "completed", ago(minutes=5), "b"),
        minimal_event("LoopJob", "b", "completed", ago(minutes=5), "a"),
    ]
    with closing(store_events(database_url, events)) as connection:
        for root in ("a", "b"):
            stages = get_pipeline_stats(connection, KINO, root, now=NOW).stages
            assert [(stage.depth, stage.total) for stage in stages] == [(0, 1), (1, 1)]


def test_a_list_of_runs_marks_incomplete_counts(database_url: str) -> None:
    events = [minimal_event("SyncJob", "r", "completed", ago(minutes=30))]
    events += [
        minimal_event("PageJob", f"p{at}", "completed", ago(minutes=5), "r")
        for at in range(LISTED_WALK_LIMIT + 5)
    ]
    with closing(store_events(database_url, events)) as connection:
        (run,) = get_runs(connection, now=NOW)
        whole = get_pipeline_stats(connection, KINO, "r", now=NOW)
    assert (run.total, run.cut_at, run.verdict) == (1 + LISTED_WALK_LIMIT, LISTED_WALK_LIMIT, None)
    assert sum(stage.total for stage in whole.stages) == 1 + LISTED_WALK_LIMIT + 5
