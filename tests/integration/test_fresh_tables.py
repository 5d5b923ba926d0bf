"""Answers about large runs in tables that were just loaded, before the planner has statistics.

Autovacuum analyses tables after about a minute; a person may ask sooner. So every answer must be quick without
statistics: every join of a run's jobs is hashed, and every look-up uses an index.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, Final

import psycopg
import pytest
from psycopg.rows import tuple_row

from settings.database import DatabaseSettings
from store.answers.gaps import get_gaps
from store.answers.jobs import get_jobs
from store.answers.lineage import get_ancestors, get_children, get_job_tree, get_pipeline_stats
from store.answers.runs import get_runs
from store.connection import connect
from store.queries import queries
from tests.integration.story import KINO

STATEMENT_TIMEOUT_SECONDS: Final = 30
"""The limit for one query on a busy machine. Without the fix, some queries take minutes and some never end."""

# Each job by its number, from 0: the number of its parent, and its depth.
CHAIN: Final = "SELECT n, n - 1 AS parent, n AS depth FROM generate_series(0, {jobs} - 1) AS n"
FAN: Final = "SELECT n, 0 AS parent, least(n, 1) AS depth FROM generate_series(0, {jobs} - 1) AS n"
TREE: Final = "SELECT n, n / 2 - 1 + n %% 2 AS parent, floor(log(2, n + 1))::integer AS depth FROM generate_series(0, {jobs} - 1) AS n"

SHAPES: Final = {"chain": (CHAIN, 20_000), "fan": (FAN, 50_000), "tree": (TREE, 30_000)}

# Every second job below the root waits; every eighth has been executing for an hour and a half.
FILL: Final = """
WITH shape AS ({shape}),
loaded AS (
    SELECT
        'j' || n AS job_id,
        CASE WHEN n = 0 THEN '' ELSE 'j' || parent END AS parent_job_id,
        depth,
        CASE WHEN n %% 2 = 1 THEN 'available' WHEN n %% 8 = 2 THEN 'executing' ELSE 'completed' END AS state
    FROM shape
),
loaded_jobs AS (
    INSERT INTO jobs (namespace, job_id, attempt, state_rank, occurred_at, started_at, state, worker, queue, max_attempts,
                      release, executor, error_category, error_type, root_job_id, parent_job_id, depth, latest_at,
                      expected_children)
    SELECT 'kino', job_id, 1, 5, now() - interval '1 hour',
           CASE WHEN state <> 'available' THEN now() - interval '90 minutes' END,
           state, 'Worker' || least(depth, 3), 'q', 1, '', '', '', '',
           CASE WHEN %(placed)s THEN 'j0' ELSE '' END, parent_job_id, CASE WHEN %(placed)s THEN depth ELSE -1 END, now() - interval '1 hour',
           CASE WHEN state = 'completed' THEN '{{"Worker3": 1}}'::jsonb END
    FROM loaded
)
INSERT INTO lineage_edges (namespace, upstream_job_id, job_id, kind)
SELECT 'kino', parent_job_id, job_id, kind
FROM loaded
CROSS JOIN unnest(ARRAY['spawned', 'depends_on']) AS kind
WHERE parent_job_id <> '' AND (kind = 'spawned' OR parent_job_id <> 'j0')
"""


class Explaining(psycopg.Cursor[Any]):
    """Explains every query before running it, and keeps the plans."""

    plans: list[tuple[str, dict[str, Any]]] = []  # noqa: RUF012  # emptied by each test

    def execute(self, query: Any, params: Any = None, **options: Any) -> "Explaining":
        if params is not None:
            with psycopg.Cursor(self.connection, row_factory=tuple_row) as asking:
                row = asking.execute(f"EXPLAIN (FORMAT JSON) {query}", params).fetchone()
            assert row is not None
            self.plans.append((query, row[0][0]["Plan"]))
        super().execute(query, params, **options)
        return self


def fresh(database_url: str, shape: str, jobs: int, placed: bool) -> psycopg.Connection:
    """Store a run of this shape in tables without autovacuum; return a connection, which the caller closes."""
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail test") as writing:
        for table in ("jobs", "lineage_edges"):
            writing.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        writing.execute(FILL.format(shape=shape.format(jobs=jobs)), {"placed": placed})
    return connect(
        settings, "jobtrail test", autocommit=True, statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS
    )


def questions(
    connection: psycopg.Connection, last: str, jobs: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """Yield the name of every answer about a run, and a check of it."""

    def ask(function: Callable[..., Any], *asked: Any) -> Callable[[], Any]:
        return lambda: function(connection, KINO, *asked)

    yield "stats", lambda: sum(stage.total for stage in ask(get_pipeline_stats, "j0")().stages) == jobs
    yield "tree by spawned", lambda: ask(get_job_tree, "j0", "spawned")().tops
    yield "tree by depends_on", lambda: ask(get_job_tree, "j0", "depends_on")().tops
    yield "tree by all", lambda: ask(get_job_tree, "j0", "all")().tops
    yield "gaps", lambda: ask(get_gaps, "j0")().cut_at is None
    yield "jobs", lambda: ask(get_jobs, "j0")().total == jobs
    yield "children", lambda: ask(get_children, "j0")().descendants == jobs - 1
    yield "ancestors", lambda: ask(get_ancestors, last)().ancestors[0].job_id == "j0"
    yield "ancestors by depends_on", lambda: ask(get_ancestors, last, "depends_on")().cut_at is None
    yield "stats of the last job", lambda: len(ask(get_pipeline_stats, last)().stages) == 1
    yield "runs", lambda: [run.root for run in get_runs(connection)] == ["j0"]


@pytest.mark.parametrize("placed", [True, False], ids=["placed", "by-edges"])
@pytest.mark.parametrize("name", SHAPES)
def test_every_answer_about_a_large_run_is_quick_before_the_tables_are_analysed(
    database_url: str, name: str, placed: bool
) -> None:
    shape, jobs = SHAPES[name]
    jobs = jobs if placed else min(jobs, 30_000)
    with closing(fresh(database_url, shape, jobs, placed)) as connection:
        for what, holds in questions(connection, f"j{jobs - 1}", jobs):
            assert holds(), what


@pytest.mark.parametrize("placed", [True, False], ids=["placed", "by-edges"])
@pytest.mark.parametrize("name", SHAPES)
def test_no_query_of_an_answer_compares_all_rows_with_all_rows(
    database_url_each: str, name: str, placed: bool
) -> None:
    """The tables are small; the plans are examined. Each nested loop must look up its inner rows by an index."""
    shape, jobs = SHAPES[name][0], 2_000
    Explaining.plans = []
    with closing(fresh(database_url_each, shape, jobs, placed)) as connection:
        connection.cursor_factory = Explaining
        for what, holds in questions(connection, f"j{jobs - 1}", jobs):
            assert holds(), what
    assert len(Explaining.plans) > 20
    assert [(query[:200], fault) for query, plan in Explaining.plans for fault in faults_of(plan)] == []


@pytest.mark.parametrize("placed", [True, False], ids=["placed", "alone"])
def test_the_newest_of_many_runs_are_read_by_an_index(database_url_each: str, placed: bool) -> None:
    Explaining.plans = []
    alone = "SELECT n, 0 AS parent, 0 AS depth FROM generate_series(0, {jobs} - 1) AS n"
    with closing(fresh(database_url_each, alone, 5_000, placed)) as connection:
        connection.execute(
            "UPDATE jobs SET parent_job_id = '', root_job_id = CASE WHEN root_job_id <> '' THEN job_id ELSE '' END"
        )
        connection.cursor_factory = Explaining
        assert len(get_runs(connection, limit=20)) == 20
    (roots,) = [plan for query, plan in Explaining.plans if query == queries("answers_runs")["roots"]]
    assert "jobs_roots_idx" in json.dumps(roots)
    assert list(faults_of(roots)) == []


def faults_of(plan: dict[str, Any], inside_loop: bool = False) -> Iterator[str]:
    """Yield the parts of a plan whose cost is quadratic: inner sides of nested loops that read a whole table."""
    if inside_loop and not _is_lookup(plan):
        yield f"{plan['Node Type']} in a nested loop: {json.dumps(plan)[:500]}"
    for part in plan.get("Plans", []):
        relation = part["Parent Relationship"]
        inner = plan["Node Type"] == "Nested Loop" and relation == "Inner"
        # A part that runs once is not in the loop.
        yield from faults_of(part, (inside_loop or inner) and relation != "InitPlan")


def _is_lookup(plan: dict[str, Any]) -> bool:
    """Return whether a step reads only the rows of one job or one run; the newest roots are read by namespace."""
    kind = plan["Node Type"]
    if kind in ("Index Scan", "Index Only Scan", "Bitmap Index Scan"):
        return "job_id" in plan.get("Index Cond", "") or plan["Index Name"] == "jobs_roots_idx"
    return kind not in ("Seq Scan", "CTE Scan", "Materialize", "Hash Join", "Merge Join", "WorkTable Scan")
