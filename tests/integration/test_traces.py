"""Recorded workflows go through the SDK, a real broker and the aggregator into Postgres, and are queried by `jobtrail`.

The answers equal what an independent program counted in the files (tests/traces/expected.json).
"""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

import jobtrail
from broker.admin import admin
from broker.provision import run as provision
from publishers.wfformat.play import Progress, run
from schemas.errors import BrokerError
from servers.ports import free_ports
from servers.pulsar import Pulsar
from settings.broker import BrokerSettings
from settings.provision import ProvisionSettings
from store.answers.lineage import get_ancestors, get_children
from testing.topics import own_topic

ROOT = Path(__file__).parent.parent.parent
TRACES = ROOT / "tests" / "traces"
EXPECTED: dict[str, Any] = json.loads((TRACES / "expected.json").read_text())
COMMAND = [sys.executable, "-c", "from cli.main import main; main()"]
DEADLINE_SECONDS = 120

NAMESPACE = "workflows"


@dataclass(frozen=True)
class Pipeline:
    """A topic and a database for one test, and the commands that use them."""

    broker: ProvisionSettings
    database_url: str
    environment: dict[str, str]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*COMMAND, *arguments],
            env=self.environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=DEADLINE_SECONDS,
        )

    def answer(self, *arguments: str) -> Any:
        """Return the command's answer with --json."""
        done = self.command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def connect(self) -> psycopg.Connection:
        connection = psycopg.connect(self.database_url, autocommit=True)
        connection.execute("SET search_path TO jobtrail")
        return connection

    def wait_until_committed(self) -> None:
        """Wait until the aggregator has acknowledged, and so committed, all that was published."""
        deadline = time.monotonic() + DEADLINE_SECONDS
        while (backlog := self.statistics()["subscriptions"]["aggregator"]["msgBacklog"]) > 0:
            assert time.monotonic() < deadline, f"{backlog} entries of the topic were not acknowledged"
            time.sleep(0.1)

    def published(self) -> int:
        """Return how many messages the topic has ever received."""
        count: int = self.statistics()["msgInCounter"]
        return count

    def statistics(self) -> Any:
        with admin(self.broker) as rest:
            path = self.broker.topic.replace("://", "/")
            return rest.get(f"/{path}/partitioned-stats")


@pytest.fixture
def idle_pipeline(pulsar: Pulsar, database_url: str) -> Pipeline:
    """Return a pipeline without an aggregator."""
    broker = own_topic(pulsar)
    provision(broker, check=False)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JOBTRAIL_")} | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers" / "src")]),
        "JOBTRAIL_PULSAR_URL": broker.pulsar_url,
        "JOBTRAIL_PULSAR_ADMIN_URL": broker.pulsar_admin_url,
        "JOBTRAIL_TOPIC": broker.topic,
        "JOBTRAIL_DATABASE_URL": database_url,
        "JOBTRAIL_NAMESPACE": NAMESPACE,
        "JOBTRAIL_AGGREGATOR_PORT": "0",
    }
    return Pipeline(broker, database_url, environment)


@pytest.fixture
def pipeline(idle_pipeline: Pipeline) -> Iterator[Pipeline]:
    """Yield a pipeline with an aggregator, in a process of its own."""
    process = subprocess.Popen([*COMMAND, "aggregate"], env=idle_pipeline.environment, cwd=ROOT)
    try:
        yield idle_pipeline
    finally:
        process.terminate()
        status = process.wait(60)
    assert status == 0


@pytest.fixture
def sdk_of_this_process() -> Iterator[None]:
    """Stop the SDK's sender afterwards, because the import runs in the test's process."""
    yield
    jobtrail.shutdown(0.0)


def small_workflow(folder: Path, seconds: float, parent_of_last: str = "b") -> Path:
    """Write a workflow of three tasks, one after the other, each this many seconds long."""
    parents = {"a": [], "b": ["a"], "c": [parent_of_last]}
    document = {
        "name": "kitchen",
        "schemaVersion": "1.5",
        "runtimeSystem": {"name": "Pegasus"},
        "workflow": {
            "specification": {"tasks": [{"id": i, "name": i, "parents": p} for i, p in parents.items()]},
            "execution": {
                "executedAt": "20200408T173533+0000",
                "tasks": [
                    {"id": i, "runtimeInSeconds": seconds, "command": {"program": f"cook-{i}"}}
                    for i in parents
                ],
            },
        },
    }
    path = folder / f"kitchen-{parent_of_last}.json"
    path.write_text(json.dumps(document))
    return path


def tables(connection: psycopg.Connection) -> dict[str, list[Any]]:
    """Return all rows of all derived tables."""
    return {
        name: connection.execute(f"SELECT * FROM {name} ORDER BY {name}").fetchall()
        for name in ("jobs", "attempts", "lineage_edges", "outcomes_hourly", "failure_groups", "dead_letters")
    }


def depends_on(connection: psycopg.Connection, root: str) -> dict[str, list[str]]:
    """Map each task of the run to the tasks it depends on, by their ids in the file."""
    rows = connection.execute(
        """
        SELECT jobs.job_id, edges.upstream_job_id
        FROM jobs
        LEFT JOIN lineage_edges AS edges
            ON edges.namespace = jobs.namespace AND edges.job_id = jobs.job_id AND edges.kind = 'depends_on'
        WHERE jobs.namespace = %s AND jobs.root_job_id = %s AND jobs.depth = 1
        """,
        (NAMESPACE, root),
    ).fetchall()
    parents: dict[str, list[str]] = {}
    for job, upstream in rows:
        known = parents.setdefault(job.removeprefix(f"{root}/"), [])
        if upstream is not None:
            known.append(upstream.removeprefix(f"{root}/"))
    return parents


def levels(parents: dict[str, list[str]]) -> dict[str, int]:
    """Map each task to the length of its longest path from a task without parents."""
    known: dict[str, int] = {}

    def level(task: str) -> int:
        if task not in known:
            known[task] = max((level(parent) + 1 for parent in parents[task]), default=0)
        return known[task]

    for task in parents:
        level(task)
    return known


def test_all_eight_traces_match_an_independent_program(pipeline: Pipeline) -> None:
    """Tasks, edges, levels, roots, leaves, stages and lineage match, with all traces in one namespace and one import."""
    files = [str(TRACES / expected["file"]) for expected in EXPECTED.values()]
    imported = pipeline.answer("import", "wfformat", *files, "--instant")
    pipeline.wait_until_committed()

    assert {run["root"] for run in pipeline.answer("runs", "list")} == {run["root"] for run in imported}
    with pipeline.connect() as connection:
        for expected, found in zip(EXPECTED.values(), imported, strict=True):
            check_run(pipeline, connection, found["root"], expected)
        totals = connection.execute(
            "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM attempts), (SELECT count(*) FROM dead_letters)"
        ).fetchone()
        tasks = sum(expected["tasks"] for expected in EXPECTED.values())
        assert totals == (tasks + 8, tasks + 8, 0)


def check_run(
    pipeline: Pipeline, connection: psycopg.Connection, root: str, expected: dict[str, Any]
) -> None:
    stages = pipeline.answer("lineage", "stats", root)["stages"]
    assert [stage["total"] for stage in stages if stage["depth"] == 0] == [1]
    below = [stage for stage in stages if stage["depth"] == 1]
    assert {stage["worker"]: stage["total"] for stage in below} == expected["tasks_per_stage"]
    assert {stage["worker"]: stage["expected"] for stage in below} == expected["tasks_per_stage"]
    assert all(stage["states"] == {"completed": stage["total"]} and not stage["stuck"] for stage in stages)

    parents = depends_on(connection, root)
    upstream = {parent for names in parents.values() for parent in names}
    leaves = parents.keys() - upstream
    roots = {task for task, names in parents.items() if not names}
    per_level = Counter(levels(parents).values())
    assert len(parents) == expected["tasks"]
    assert sum(len(names) for names in parents.values()) == expected["edges"]
    assert max(per_level) == expected["depth_edges"]
    assert [per_level[level] for level in sorted(per_level)] == expected["tasks_per_level"]
    assert (len(roots), len(leaves), len(roots & leaves)) == tuple(
        expected[name] for name in ("roots", "leaves", "isolated")
    )
    for sample in expected["lineage_samples"]:
        job = f"{root}/{sample['task']}"
        above = get_ancestors(connection, NAMESPACE, job, "depends_on")
        children = get_children(connection, NAMESPACE, job, "depends_on", limit=10_000)
        assert {
            "task": sample["task"],
            "parents": len(parents[sample["task"]]),
            "children": len(children.jobs),
            "ancestors": len(above.ancestors),
            "descendants": children.descendants,
        } == sample
        assert [ancestor.job_id for ancestor in get_ancestors(connection, NAMESPACE, job).ancestors] == [root]


def test_file_of_version_1_6_and_stages_without_a_program_are_imported(
    pipeline: Pipeline, tmp_path: Path
) -> None:
    """There is a recorded file of 1.6, and one whose tasks have no program, only names made of a rule and a number."""
    recorded = TRACES / "helloworld-forkjoin-10-chameleon.json.gz"
    numbered = small_workflow(tmp_path, seconds=1)
    document = json.loads(numbered.read_text())
    specified, executed = (document["workflow"][part]["tasks"] for part in ("specification", "execution"))
    for number in range(3):
        specified[number] |= {"id": f"rule_{number}", "name": f"rule_{number}", "parents": []}
        executed[number] |= {"id": f"rule_{number}", "command": {"program": "n/a"}}
    numbered.write_text(json.dumps(document))
    first, second = pipeline.answer("import", "wfformat", str(recorded), str(numbered), "--instant")
    pipeline.wait_until_committed()

    assert stages_below(pipeline, first["root"]) == {"cpuhog": (10, 10)}
    assert stages_below(pipeline, second["root"]) == {"rule": (3, 3)}


def test_names_that_are_too_long_are_shortened_and_shown_whole(pipeline: Pipeline, tmp_path: Path) -> None:
    """Two programs and three ids of 600 bytes differ only at their end: two stages, three jobs, nothing refused."""
    path = small_workflow(tmp_path, seconds=1)
    document = json.loads(path.read_text())
    programs = ["p" * 600, "p" * 601, "p" * 600]
    specified, executed = (document["workflow"][part]["tasks"] for part in ("specification", "execution"))
    for number, (task, run_of_it) in enumerate(zip(specified, executed, strict=True)):
        task["id"] = run_of_it["id"] = f"{'i' * 600}{number}"
        task["parents"] = [f"{'i' * 600}{number - 1}"] if number else []
        run_of_it["command"]["program"] = programs[number]
    path.write_text(json.dumps(document))
    (imported,) = pipeline.answer("import", "wfformat", str(path), "--instant")
    pipeline.wait_until_committed()

    stages = stages_below(pipeline, imported["root"])
    assert sorted(stages.values()) == [(1, 1), (2, 2)]
    assert all(len(stage) == 300 and stage.startswith("ppp") for stage in stages)
    with pipeline.connect() as connection:
        jobs = connection.execute(
            "SELECT job_id, worker, external_id, meta FROM jobs WHERE depth = 1 ORDER BY occurred_at"
        ).fetchall()
        assert connection.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)
        above = get_ancestors(connection, NAMESPACE, jobs[2][0], "depends_on")
    assert [job.job_id for job in above.ancestors] == [jobs[0][0], jobs[1][0]]
    for number, (job, worker, external, meta) in enumerate(jobs):
        assert (len(job), len(external)) == (500, 500)
        assert meta["task_id"] == f"{'i' * 600}{number}"
        assert (meta["stage"], len(worker)) == (programs[number], 300)


def stages_below(pipeline: Pipeline, root: str) -> dict[str, tuple[int, int]]:
    """Map each stage of a run's tasks to how many jobs there are and how many were expected."""
    stages = pipeline.answer("lineage", "stats", root)["stages"]
    return {stage["worker"]: (stage["total"], stage["expected"]) for stage in stages if stage["depth"] == 1}


def test_ancestors_of_a_sample_match_by_the_command(pipeline: Pipeline) -> None:
    """The command answers the same as the functions."""
    expected = EXPECTED["montage-chameleon-2mass-025d-001"]
    root = pipeline.answer("import", "wfformat", str(TRACES / expected["file"]), "--instant")[0]["root"]
    pipeline.wait_until_committed()
    for sample in expected["lineage_samples"][-2:]:
        found = pipeline.answer("lineage", "ancestors", f"{root}/{sample['task']}", "--edges", "depends_on")
        assert len(found["ancestors"]) == sample["ancestors"]


def test_same_run_id_and_original_times_twice_changes_nothing(pipeline: Pipeline) -> None:
    """The times are the recorded ones, so a second import publishes the same events."""
    file = str(TRACES / EXPECTED["bacass-dirt02-001"]["file"])
    arguments = ("import", "wfformat", file, "--run-id", "bacass", "--original-times", "--instant")
    pipeline.answer(*arguments)
    pipeline.wait_until_committed()
    with pipeline.connect() as connection:
        before = tables(connection)
        started = connection.execute("SELECT started_at FROM jobs WHERE job_id = 'bacass'").fetchone()
        published = pipeline.published()
        pipeline.answer(*arguments)
        pipeline.wait_until_committed()
        assert pipeline.published() == 2 * published
        assert tables(connection) == before
    assert started is not None
    assert started[0].isoformat() == "2023-03-29T20:02:36+00:00"


def test_same_file_twice_is_two_runs(pipeline: Pipeline) -> None:
    file = str(TRACES / EXPECTED["bacass-dirt02-001"]["file"])
    imported = pipeline.answer("import", "wfformat", file, file, "--instant")
    pipeline.wait_until_committed()
    assert len({run["root"] for run in imported}) == 2
    with pipeline.connect() as connection:
        assert connection.execute("SELECT count(*) FROM jobs").fetchone() == (2 * 12,)


def test_replay_keeps_the_durations_and_ends_now(
    pipeline: Pipeline, tmp_path: Path, sdk_of_this_process: None
) -> None:
    """60 recorded seconds at 30 times the speed take 2 seconds; durations are as recorded, and the end is now."""
    path = small_workflow(tmp_path, seconds=20)
    reports: list[Progress] = []
    began = time.time()
    report = run([path], NAMESPACE, speed=30, progress=reports.append, broker=pipeline.broker)
    ended = time.time()
    pipeline.wait_until_committed()

    assert 2.0 <= ended - began < 20.0
    assert reports[0].published == 0
    assert (reports[-1].published, reports[-1].at_seconds) == (report.runs[0].events, 60.0)
    with pipeline.connect() as connection:
        rows = connection.execute(
            "SELECT depth, extract(epoch FROM started_at)::float8, extract(epoch FROM occurred_at)::float8 "
            "FROM jobs ORDER BY occurred_at, depth DESC"
        ).fetchall()
    assert [round(end - start, 6) for _, start, end in rows] == [20, 20, 20, 60]
    assert began + 2.0 - 0.001 <= rows[-1][2] <= ended


def test_one_bad_file_among_good_ones_publishes_nothing(idle_pipeline: Pipeline, tmp_path: Path) -> None:
    good = str(TRACES / EXPECTED["bacass-dirt02-001"]["file"])
    cycle = small_workflow(tmp_path, seconds=1, parent_of_last="c")
    done = idle_pipeline.command("import", "wfformat", good, str(cycle), "--instant")
    assert done.returncode == 2
    assert done.stdout == ""
    assert str(cycle) in done.stderr
    assert "c → c" in done.stderr
    assert idle_pipeline.published() == 0


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--speed", "0"), "greater than 0"),
        (("--speed", "nan"), "greater than 0"),
        (("--speed", "2", "--instant"), "exclude each other"),
        (("--run-id", ""), "the run's id is empty"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(
    tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    done = subprocess.run(
        [*COMMAND, "import", "wfformat", str(small_workflow(tmp_path, 1)), "--namespace", "ns", *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "workers" / "src")])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert reason in done.stderr


def test_import_without_a_broker_says_how_many_events_did_not_arrive(
    tmp_path: Path, sdk_of_this_process: None
) -> None:
    nobody = BrokerSettings.load(pulsar_url=f"pulsar://127.0.0.1:{free_ports(1)[0]}")
    with pytest.raises(BrokerError, match=r"11 of 11 events were not acknowledged by .* within 1 s"):
        run(
            [small_workflow(tmp_path, 1)],
            NAMESPACE,
            instant=True,
            broker=nobody,
            acknowledged_within_seconds=1.0,
        )
    assert jobtrail.stats().spooled == 0  # nothing of it is sent later, beside the import that is made again
