"""Trees, stages, children and ancestors, answered from tables that the real writer filled."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest

from schemas.errors import InputError, NotFoundError
from store.answers.lineage import get_ancestors, get_children, get_job_tree, get_pipeline_stats
from store.answers.scope import find_namespace
from store.answers.stages import Stage
from store.answers.tree import Node
from store.answers.verdicts import StuckRule
from store.queries import queries
from tests.integration.story import (
    KINO,
    NOW,
    ago,
    details_of,
    event,
    incident,
    placed,
    root_of,
    showtimes_of,
    store_events,
)

DETAILS = sum(details_of(number) for number in range(70))
SHOWTIMES = sum(showtimes_of(number) for number in range(70))


@pytest.fixture
def kino(database_url_each: str) -> Iterator[psycopg.Connection]:
    with closing(store_events(database_url_each, incident())) as connection:
        yield connection


def stages_of(connection: psycopg.Connection, root: str, **asked: Any) -> dict[tuple[int, str], Stage]:
    found = get_pipeline_stats(connection, KINO, root, now=NOW, **asked)
    return {(stage.depth, stage.worker): stage for stage in found.stages}


def flat(nodes: tuple[Node, ...], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Node]:
    """Map each path of workers to its line of the tree."""
    found = {}
    for node in nodes:
        path = (*above, node.worker)
        found[path] = node
        found |= flat(node.children, path)
    return found


def test_the_incident_has_its_stages(kino: psycopg.Connection) -> None:
    stages = stages_of(kino, "12345")
    assert {key: (stage.total, stage.expected, stage.states) for key, stage in stages.items()} == {
        (0, "SyncJob"): (1, None, {"completed": 1}),
        (1, "MoviePageJob"): (136, 136, {"completed": 70, "available": 63, "executing": 3}),
        (2, "MovieDetailJob"): (DETAILS, None, {"available": DETAILS}),
        (2, "ShowtimeProcessJob"): (SHOWTIMES, None, {"discarded": SHOWTIMES}),
    }
    assert [key for key, stage in stages.items() if stage.stuck] == [(2, "MovieDetailJob")]
    stuck = stages[2, "MovieDetailJob"].stuck
    assert stuck is not None
    assert (stuck.for_seconds, stuck.waiting, stuck.executing, stuck.lost) == (360.0, DETAILS, 0, 0)


def test_the_caller_sets_the_floor_of_stuck(kino: psycopg.Connection) -> None:
    assert stages_of(kino, "12345", rule=StuckRule(floor_seconds=400))[2, "MovieDetailJob"].stuck is None


def test_each_stage_is_below_the_stage_that_spawned_it(kino: psycopg.Connection) -> None:
    lines = flat(get_job_tree(kino, KINO, "#12345", now=NOW).tops)
    assert list(lines) == [
        ("SyncJob",),
        ("SyncJob", "MoviePageJob"),
        ("SyncJob", "MoviePageJob", "MovieDetailJob"),
        ("SyncJob", "MoviePageJob", "ShowtimeProcessJob"),
    ]
    assert lines["SyncJob",].job_id == "12345"
    assert [tuple(mark) for mark in lines["SyncJob", "MoviePageJob", "ShowtimeProcessJob"].failures] == [
        ("movie_not_ready", SHOWTIMES, 1)
    ]
    details = lines["SyncJob", "MoviePageJob", "MovieDetailJob"].verdict
    assert details is not None
    assert details.name == "stuck"


def test_the_tree_of_a_job_that_is_not_a_root_begins_there(kino: psycopg.Connection) -> None:
    lines = flat(get_job_tree(kino, KINO, "page-000", now=NOW).tops)
    assert {path: line.total for path, line in lines.items()} == {
        ("MoviePageJob",): 1,
        ("MoviePageJob", "MovieDetailJob"): details_of(0),
        ("MoviePageJob", "ShowtimeProcessJob"): showtimes_of(0),
    }


def test_an_expected_stage_without_any_job_is_shown(database_url: str) -> None:
    events = [
        event("SyncJob", "1", "completed", ago(), expected_children={"MoviePageJob": 5}, **root_of("1"))
    ]
    with closing(store_events(database_url, events)) as connection:
        stage = stages_of(connection, "1")[1, "MoviePageJob"]
        assert (stage.total, stage.expected, stage.states) == (0, 5, {})
        assert flat(get_job_tree(connection, KINO, "1").tops)["SyncJob", "MoviePageJob"].total == 0


def test_jobs_with_only_a_parent_are_in_its_tree(database_url: str) -> None:
    """They are found by their edges, several steps down; there is a circle among them, and other runs' jobs are left out."""
    events = [
        event("SyncJob", "1", "completed", ago(), **root_of("1")),
        event("MailJob", "mail", "completed", ago(), parent_job_id="1"),
        event("OpenJob", "open", "available", ago(), parent_job_id="mail"),
        event("LoopJob", "a", "completed", ago(), parent_job_id="open"),
        event("LoopJob", "a", "completed", ago(), parent_job_id="b"),
        event("LoopJob", "b", "completed", ago(), parent_job_id="a"),
        event("OtherJob", "other", "completed", ago(), parent_job_id="unheard-of"),
        event("UnplacedJob", "rooted", "completed", ago(), root_job_id="1"),
    ]
    expected = {
        (-1, "UnplacedJob"): 1,
        (0, "SyncJob"): 1,
        (1, "MailJob"): 1,
        (2, "OpenJob"): 1,
        (3, "LoopJob"): 1,
        (4, "LoopJob"): 1,
    }
    with closing(store_events(database_url, events)) as connection:
        assert {key: stage.total for key, stage in stages_of(connection, "1").items()} == expected
        # Where too many jobs of the namespace lack a root, the walk goes up from them, with the same answer.
        assert {
            key: stage.total for key, stage in stages_of(connection, "1", limit_jobs=5).items()
        } == expected
        paths = flat(get_job_tree(connection, KINO, "1").tops)
        assert ("SyncJob", "MailJob", "OpenJob") in paths
        assert sum(line.total for line in paths.values()) == 6


def test_a_walk_that_was_cut_is_reported(database_url: str) -> None:
    events = [event("SyncJob", "0", "completed", ago())]
    events += [
        event("NextJob", str(at), "completed", ago(), parent_job_id=str(at - 1)) for at in range(1, 30)
    ]
    with closing(store_events(database_url, events)) as connection:
        whole = get_pipeline_stats(connection, KINO, "0")
        assert (len(whole.stages), whole.cut_at) == (30, None)
        part = get_pipeline_stats(connection, KINO, "0", limit_jobs=10)
        assert (len(part.stages), part.cut_at) == (11, 10)
        above = get_ancestors(connection, KINO, "29", limit_jobs=10)
        assert (len(above.ancestors), above.cut_at) == (10, 10)


def test_a_root_without_an_event_has_a_tree(database_url: str) -> None:
    with closing(
        store_events(database_url, [event("PageJob", "p", "available", ago(), **placed("1", "1", 1))])
    ) as connection:
        assert list(flat(get_job_tree(connection, KINO, "1").tops)) == [("PageJob",)]


def test_a_job_that_waits_for_an_open_dependency_waits_rightly(database_url: str) -> None:
    """The stage that it waits for is stuck. A dependency that ended in another way is no reason to wait."""
    at = ago(hours=1)
    events = [
        event("flow", "w", "completed", at, **root_of("w")),
        event("split", "s", "available", at, **placed("w", "w", 1)),
        event("work", "x", "available", at, depends_on=["s"], **placed("w", "w", 1)),
        event("failed", "f", "discarded", ago(minutes=20), **placed("w", "w", 1)),
        event("after", "y", "available", at, depends_on=["f"], **placed("w", "w", 1)),
        event("later", "z", "scheduled", at, scheduled_at=ago(hours=-1), **placed("w", "w", 1)),
        event("due", "d", "scheduled", at, scheduled_at=ago(minutes=30), **placed("w", "w", 1)),
    ]
    with closing(store_events(database_url, events)) as connection:
        stages = stages_of(connection, "w")
    stuck = {worker: stage.stuck.for_seconds for (_, worker), stage in stages.items() if stage.stuck}
    assert stuck == {"split": 3_600.0, "after": 1_200.0, "due": 1_800.0}


def test_a_stage_with_a_lost_job_can_be_stuck(database_url: str) -> None:
    common = placed("w", "w", 1)
    events = [
        event("flow", "w", "completed", ago(hours=9), **root_of("w")),
        event("fetch", "ended", "completed", ago(hours=8), started_at=ago(hours=8, seconds=9), **common),
        event("fetch", "killed", "executing", ago(hours=7), started_at=ago(hours=7), **common),
        event("fetch", "waits", "available", ago(hours=8), **common),
    ]
    with closing(store_events(database_url, events)) as connection:
        stuck = stages_of(connection, "w")[1, "fetch"].stuck
        assert stuck is not None
        assert (stuck.waiting, stuck.executing, stuck.lost, stuck.for_seconds) == (1, 0, 1, 7 * 3_600.0)
        patient = StuckRule(lost_floor_seconds=8 * 3_600)
        assert stages_of(connection, "w", rule=patient)[1, "fetch"].stuck is None


def test_a_stage_whose_jobs_usually_wait_long_is_not_stuck_soon(database_url: str) -> None:
    """Its jobs usually wait for half an hour, so ten minutes of silence mean nothing."""
    common = {**placed("w", "w", 1), "enqueued_at": ago(minutes=60)}
    started = {"started_at": ago(minutes=30)}
    events = [
        event("flow", "w", "completed", ago(hours=9), **root_of("w")),
        event("fetch", "a", "completed", ago(minutes=20), **started, **common),
        event("fetch", "b", "completed", ago(minutes=10), **started, **common),
        event("fetch", "c", "available", ago(minutes=60), **common),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert stages_of(connection, "w")[1, "fetch"].stuck is None


def test_children_and_ancestors_are_found_over_each_kind_of_edge(database_url: str) -> None:
    events = [event("flow", "w", "completed", ago(), **root_of("w"))]
    events += [event("split", f"a{at}", "completed", ago(), **placed("w", "w", 1)) for at in range(3)]
    events += [
        event("work", "b", "completed", ago(), depends_on=["a0", "a1"], **placed("w", "w", 1)),
        event("merge", "c", "available", ago(), depends_on=["b", "a2"], **placed("w", "w", 1)),
    ]
    with closing(store_events(database_url, events)) as connection:
        spawned = get_children(connection, KINO, "w")
        assert (len(spawned.jobs), spawned.descendants) == (5, 5)
        after = get_children(connection, KINO, "a0", "depends_on")
        assert ([job.job_id for job in after.jobs], after.descendants) == (["b"], 2)
        assert get_children(connection, KINO, "w", limit=2).jobs == spawned.jobs[:2]
        path = get_ancestors(connection, KINO, "c")
        assert [(up.job_id, up.distance) for up in path.ancestors] == [("w", 1)]
        before = get_ancestors(connection, KINO, "c", "depends_on")
        assert sorted((up.job_id, up.distance) for up in before.ancestors) == [
            ("a0", 2),
            ("a1", 2),
            ("a2", 1),
            ("b", 1),
        ]
        assert len(get_ancestors(connection, KINO, "c", "all").ancestors) == 5
        tree = flat(get_job_tree(connection, KINO, "w", "depends_on").tops)
        assert ("flow", "split", "work", "merge") in tree
        both = flat(get_job_tree(connection, KINO, "w", "all").tops)
        assert [after.worker for after in both["flow", "merge"].after] == ["split", "work"]


def test_a_job_is_found_in_the_only_namespace_that_has_its_id(database_url: str) -> None:
    events = [
        event("SyncJob", "1", "completed", ago(), **root_of("1")),
        event("SyncJob", "both", "completed", ago(), **root_of("both")),
        event("SyncJob", "both", "completed", ago(), namespace="theatre", **root_of("both")),
        event("SyncJob", "#7", "completed", ago(), namespace="theatre", **root_of("#7")),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert find_namespace(connection, "1") == find_namespace(connection, "#1") == KINO
        assert find_namespace(connection, "#7") == "theatre"
        with pytest.raises(InputError, match=r"2 namespaces: kino, theatre.*--namespace"):
            find_namespace(connection, "both")
        with pytest.raises(NotFoundError):
            find_namespace(connection, "2")
        with pytest.raises(NotFoundError):
            get_pipeline_stats(connection, "theatre", "1")


def test_stage_counts_are_read_from_the_index_alone(database_url_each: str) -> None:
    """A run of 30,000 jobs among others is counted without reading a row of the table itself."""
    with closing(store_events(database_url_each, incident())) as connection:
        connection.execute(
            """
            INSERT INTO jobs (namespace, job_id, attempt, state_rank, occurred_at, state, worker, queue, max_attempts,
                              release, executor, error_category, error_type, root_job_id, parent_job_id, depth,
                              latest_at)
            SELECT 'kino', run || '-' || job, 1, 5, now(), 'completed', 'Worker' || job % 5, 'q', 1,
                   '', '', '', '', run::text, run::text, 1, now()
            FROM generate_series(1, 3) AS run, generate_series(1, 30000) AS job
            """
        )
        connection.execute("VACUUM ANALYZE jobs")
        asked = {"namespace": KINO, "run": "2", "walked_ids": [], "walked_depths": []}
        query = queries("answers_lineage")["stage_states"]
        plan = "\n".join(row[0] for row in connection.execute("EXPLAIN (ANALYZE) " + query, asked))
    assert "Index Only Scan using jobs_run_stage_state_idx" in plan
    assert "Heap Fetches: 0" in plan
    assert "Seq Scan on jobs" not in plan
