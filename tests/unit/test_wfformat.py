"""The WfFormat import up to its events: files are read as in expected.json, the plan keeps the order, bad files are refused.

Versions, stages, names and times are tested in other files beside this one; publishing through the broker in
tests/integration/test_traces.py.
"""

import copy
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobtrail
from jobtrail import _runtime
from publishers.wfformat.events import count_events, events, job_id
from publishers.wfformat.plan import Change, makespan_us, steps, timings
from publishers.wfformat.play import run
from publishers.wfformat.read import Task, read
from publishers.wfformat.sending import Sending
from schemas.contract import FINISHED, RANKS, SCHEMA
from schemas.errors import BrokerError, InputError
from settings.broker import BrokerSettings
from tests.unit.workflow_files import DIAMOND, a_document, a_task, executed, refused, specified, written

TRACES = Path(__file__).parent.parent / "traces"
EXPECTED: dict[str, Any] = json.loads((TRACES / "expected.json").read_text())

NAMES = sorted(EXPECTED)


def trace_path(name: str) -> Path:
    path: Path = TRACES / EXPECTED[name]["file"]
    return path


# ---------------------------------------------------------------------------------------------- the eight real files


@pytest.mark.parametrize("name", NAMES)
def test_real_trace_matches_an_independent_program(name: str) -> None:
    """Tasks, edges, levels, roots, leaves, isolated tasks, stages and their programs equal expected.json."""
    expected = EXPECTED[name]
    trace = read(trace_path(name))
    children = {parent for task in trace.tasks for parent in task.parents}
    roots = {task.id for task in trace.tasks if not task.parents}
    leaves = {task.id for task in trace.tasks if task.id not in children}
    level: dict[str, int] = {}
    for task in trace.tasks:
        level[task.id] = max((level[parent] + 1 for parent in task.parents), default=0)
    per_level = Counter(level.values())

    assert len(trace.tasks) == expected["tasks"]
    assert trace.edges == expected["edges"]
    assert max(level.values()) == expected["depth_edges"]
    assert [per_level[number] for number in sorted(per_level)] == expected["tasks_per_level"]
    assert (len(roots), len(leaves), len(roots & leaves)) == (
        expected["roots"],
        expected["leaves"],
        expected["isolated"],
    )
    assert dict(trace.tasks_per_stage) == expected["tasks_per_stage"]
    assert sum(not task.runtime_us for task in trace.tasks) == expected["zero_runtime_tasks"]
    assert sum(not task.executor for task in trace.tasks) == expected["tasks_without_machine"]
    assert sum(task.runtime_us for task in trace.tasks) / 1e6 == pytest.approx(
        expected["sum_runtime_seconds"], abs=0.01
    )
    assert max(len(task.parents) for task in trace.tasks) == expected["max_parents"]
    assert trace.executed_at_text == expected["executed_at"]
    assert trace.executed_at is not None


@pytest.mark.parametrize("name", NAMES)
def test_real_trace_takes_as_long_as_its_critical_path(name: str) -> None:
    planned = timings(read(trace_path(name)).tasks)
    assert makespan_us(planned) / 1e6 == pytest.approx(EXPECTED[name]["critical_path_seconds"], abs=0.001)


@pytest.mark.parametrize("name", NAMES)
def test_real_trace_becomes_events_of_the_contract_in_time_order(name: str) -> None:
    """Every field is in the contract, times never go back, and each job's states come in the order of their ranks."""
    fields = {field["name"] for field in SCHEMA["fields"]}
    trace = read(trace_path(name))
    last_rank: dict[str, int] = {}
    ended: set[str] = set()
    before = 0
    count = 0
    for due in events(trace, "ns", "run", 1_000_000):
        event = due.fields
        assert event.keys() <= fields
        # Fields that the SDK would fill in from the importing process, and that would differ from import to import.
        assert {"namespace", "occurred_at", "executor", "release"} <= event.keys()
        assert before <= due.at_us == event["occurred_at"] - 1_000_000
        assert last_rank.get(event["job_id"], 0) <= RANKS[event["state"]]
        assert ended.issuperset(event.get("depends_on", ())), (
            "a task became available before its parents had ended"
        )
        if event["state"] in FINISHED:
            ended.add(event["job_id"])
            assert event["started_at"] <= event["occurred_at"]
        last_rank[event["job_id"]] = RANKS[event["state"]]
        before = due.at_us
        count += 1
    assert len(ended) == len(trace.tasks) + 1
    assert count == count_events(trace)


def test_same_trace_run_and_start_give_identical_events() -> None:
    path = trace_path("bacass-dirt02-001")
    once, again = (list(events(read(path), "ns", "run", 5)) for _ in range(2))
    assert once == again


def test_ids_that_repeat_between_runs_are_different_jobs(tmp_path: Path) -> None:
    trace = read(written(tmp_path, DIAMOND))
    first, second = ({due.fields["job_id"] for due in events(trace, "ns", run, 1)} for run in ("one", "two"))
    assert not first & second


# --------------------------------------------------------------------------------------------------- small examples


def test_a_task_starts_when_its_last_parent_ends(tmp_path: Path) -> None:
    trace = read(written(tmp_path, DIAMOND))
    assert [task.id for task in trace.tasks] == ["a", "b", "c", "d"]
    assert timings(trace.tasks) == [
        (0, 2_000_000),
        (2_000_000, 5_000_000),
        (2_000_000, 7_000_000),
        (7_000_000,) * 2,
    ]


def test_run_is_a_root_with_its_tasks_as_children(tmp_path: Path) -> None:
    """The root expects its stages, executes from first to last, and every task names it as its parent."""
    sent = [due.fields for due in events(read(written(tmp_path, DIAMOND)), "ns", "run", 1_000)]
    first, last = sent[0], sent[-1]
    assert (first["job_id"], first["state"], first["depth"], first["worker"]) == (
        "run",
        "executing",
        0,
        "kitchen",
    )
    assert first["expected_children"] == {"cook": 4}
    assert (last["job_id"], last["state"], last["occurred_at"]) == ("run", "completed", 7_001_000)
    assert {(event["parent_job_id"], event["root_job_id"], event["depth"]) for event in sent[1:-1]} == {
        ("run", "run", 1)
    }
    depends = {event["job_id"]: event["depends_on"] for event in sent if "depends_on" in event}
    assert depends == {"run/a": [], "run/b": ["run/a"], "run/c": ["run/a"], "run/d": ["run/b", "run/c"]}


def test_stage_is_the_name_where_nextflow_ran_it_and_the_program_elsewhere(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    del executed(document)[3]["command"]
    assert read(written(tmp_path, document)).tasks_per_stage == {"cook": 3, "d": 1}
    document["runtimeSystem"]["name"] = "Nextflow"
    assert read(written(tmp_path, document)).tasks_per_stage == {"a": 1, "b": 1, "c": 1, "d": 1}


def test_gzip_is_read_like_plain_json(tmp_path: Path) -> None:
    packed = tmp_path / "kitchen.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(DIAMOND).encode()))
    plain = read(written(tmp_path, DIAMOND))
    assert (read(packed).tasks, read(packed).sha256) == (plain.tasks, plain.sha256)


def test_more_than_a_thousand_parents_go_on_further_events(tmp_path: Path) -> None:
    parents = [f"p{number}" for number in range(2_345)]
    path = written(tmp_path, a_document(*(a_task(parent, []) for parent in parents), a_task("all", parents)))
    trace = read(path)
    sent = [due.fields for due in events(trace, "ns", "run", 1)]
    lists = [event["depends_on"] for event in sent if event["job_id"] == "run/all" and "depends_on" in event]
    assert [len(ids) for ids in lists] == [1_000, 1_000, 345]
    assert [parent for ids in lists for parent in ids] == [job_id("run", parent) for parent in parents]
    assert len(sent) == count_events(trace)


def test_more_than_a_thousand_stages_go_on_further_events(tmp_path: Path) -> None:
    tasks = (a_task(f"t{number}", [], program=f"program{number}") for number in range(1_001))
    sent = [due.fields for due in events(read(written(tmp_path, a_document(*tasks))), "ns", "run", 1)]
    counts = [event["expected_children"] for event in sent if "expected_children" in event]
    assert [len(part) for part in counts] == [1_000, 1]


# ---------------------------------------------------------------------------------------------------- the plan's law


# These tests are not about the speed of a busy machine.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def graphs(draw: st.DrawFn) -> list[Task]:
    """Draw any graph without cycles, with tasks after their parents."""
    tasks: list[Task] = []
    for number in range(draw(st.integers(1, 25))):
        parents = draw(st.sets(st.sampled_from(range(number)), max_size=5)) if number else set()
        runtime = draw(st.one_of(st.just(0), st.integers(0, 10_000_000)))
        names = tuple(f"t{parent}" for parent in sorted(parents))
        tasks.append(Task(f"t{number}", "stage", names, runtime, "", {}, {}))
    return tasks


def longest_path(tasks: list[Task]) -> int:
    """Return the critical path, found from the leaves by plain recursion, independently of the plan."""
    children = {task.id: [other for other in tasks if task.id in other.parents] for task in tasks}
    known: dict[str, int] = {}

    def below(task: Task) -> int:
        if task.id not in known:
            known[task.id] = task.runtime_us + max((below(child) for child in children[task.id]), default=0)
        return known[task.id]

    return max(below(task) for task in tasks)


@given(graphs())
@UNHURRIED
def test_no_task_starts_before_its_parents_end_and_the_makespan_is_the_critical_path(
    tasks: list[Task],
) -> None:
    planned = dict(zip([task.id for task in tasks], timings(tasks), strict=True))
    for task in tasks:
        start, end = planned[task.id]
        assert end - start == task.runtime_us
        assert start == max((planned[parent].end_us for parent in task.parents), default=0)
    assert makespan_us(list(planned.values())) == longest_path(tasks)


@given(graphs())
@UNHURRIED
def test_steps_are_in_time_order_and_a_parent_ends_before_its_child_is_available(tasks: list[Task]) -> None:
    """This holds even if everything happens at the same time, as with tasks of runtime 0."""
    sent = steps(timings(tasks))
    assert [step.at_us for step in sent] == sorted(step.at_us for step in sent)
    happened = {(tasks[step.position].id, step.change): number for number, step in enumerate(sent)}
    for task in tasks:
        states = [happened[task.id, change] for change in Change]
        assert states == sorted(states)
        assert all(happened[parent, Change.COMPLETED] < states[0] for parent in task.parents)


# ----------------------------------------------------------------------------------------------------- refused input


def test_cycle_is_refused_with_its_path(tmp_path: Path) -> None:
    document = a_document(a_task("a", ["c"]), a_task("b", ["a"]), a_task("c", ["b"]), a_task("d", ["c"]))
    message = refused(written(tmp_path, document))
    assert any(path in message for path in ("a → b → c → a", "b → c → a → b", "c → a → b → c"))
    assert "cycle of 3" in message


def test_task_that_is_its_own_parent_is_refused(tmp_path: Path) -> None:
    assert "cycle of 1: a → a" in refused(written(tmp_path, a_document(a_task("a", ["a"]))))


def test_long_cycle_is_refused_with_a_short_message(tmp_path: Path) -> None:
    ring = [a_task(f"t{number}", [f"t{(number - 1) % 1_000}"]) for number in range(1_000)]
    message = refused(written(tmp_path, a_document(*ring)))
    assert "cycle of 1000" in message
    assert len(message) < 1_000


def test_missing_parent_is_refused_by_both_names(tmp_path: Path) -> None:
    message = refused(written(tmp_path, a_document(a_task("a", []), a_task("b", ["ghost"]))))
    assert "task 'b' has the parent 'ghost', which is not in the file" in message


def test_missing_child_is_refused_by_both_names(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    specified(document)[3]["children"] = ["ghost"]
    assert "task 'd' has the child 'ghost'" in refused(written(tmp_path, document))


def test_parents_and_children_that_disagree_are_refused_by_both_names(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    specified(document)[0]["children"] = ["b"]
    assert "'c' lists 'a' as its parent, but 'a' does not list 'c'" in refused(written(tmp_path, document))
    document = copy.deepcopy(DIAMOND)
    specified(document)[3]["parents"] = ["b"]
    assert "'c' lists 'd' as its child, but 'd' does not list 'c'" in refused(written(tmp_path, document))


def test_broken_json_is_refused_with_line_and_byte(tmp_path: Path) -> None:
    path = tmp_path / "broken.json"
    path.write_text('{\n "näme": "kitchen",\n "schemaVersion" 1.5\n}')
    assert "line 3, column 18 (byte 40 of 45)" in refused(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "line 1, column 1 (byte 0 of 0)"),
        (b'{"name": "caf\xe9"}', "byte 0xe9 at byte 13"),
        (b"[1, 2]", "expected a JSON object in WfFormat, got list"),
        (b'{"a": NaN}', "NaN is not a number in JSON"),
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "not JSON"),
        (b'{"schemaVersion": "1.5"}', "'workflow' is missing"),
    ],
)
def test_broken_file_is_refused_with_its_place(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    assert reason in refused(path)


def test_damaged_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(json.dumps(DIAMOND).encode())
    path = tmp_path / "broken.json.gz"
    path.write_bytes(whole[: len(whole) // 2])
    assert "damaged or cut short" in refused(path)
    path.write_bytes(whole[:-6] + b"\0" * 6)
    assert "damaged or cut short" in refused(path)
    path.write_bytes(b"{}")
    assert "the content is not gzip" in refused(path)


def test_a_path_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nowhere.json")
    assert "expected a regular file" in refused(tmp_path)


@pytest.mark.parametrize(
    ("runtime", "reason"),
    [(-1, "got -1"), ("5", "got '5'"), (True, "got True"), (None, "got None"), (1e300, "got 1e+300")],
)
def test_impossible_runtime_is_refused_with_task_and_value(
    tmp_path: Path, runtime: object, reason: str
) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document)[1]["runtimeInSeconds"] = runtime
    message = refused(written(tmp_path, document))
    assert "task 'b'" in message
    assert reason in message


def test_task_without_runtime_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    del executed(document)[1]["runtimeInSeconds"]
    assert "task 'b': expected runtimeInSeconds to be a number from 0 to 315360000, got nothing" in refused(
        written(tmp_path, document)
    )


def test_task_that_was_not_executed_or_not_specified_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document).pop()
    assert "task 'd' is in workflow.specification.tasks, but not in workflow.execution.tasks" in refused(
        written(tmp_path, document)
    )


def test_id_used_twice_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    specified(document)[1]["id"] = "a"
    assert "tasks[1]: the id 'a' is used by two tasks" in refused(written(tmp_path, document))


def test_workflow_without_tasks_is_refused(tmp_path: Path) -> None:
    assert "there is nothing to import" in refused(written(tmp_path, a_document()))


@pytest.mark.parametrize("bad", ["a\0b", "half \ud800", ""])
def test_text_that_no_table_can_store_is_refused(tmp_path: Path, bad: str) -> None:
    assert "tasks[0]" in refused(written(tmp_path, a_document(a_task(bad, []))))


def test_failed_import_shows_the_address_without_its_password() -> None:
    broker = BrokerSettings.load(pulsar_url="pulsar://us:hunter2@127.0.0.1:6650")
    sending = Sending(broker, "tests", acknowledged_within_seconds=0)
    try:
        jobtrail.configure(enabled=False)  # no message leaves, so none is acknowledged
        sending.send({"job_id": "1", "worker": "W", "state": "completed"})
        with pytest.raises(BrokerError, match=r"1 of 1 events .* at pulsar://127\.0\.0\.1:6650 within"):
            sending.finish("the import")
    finally:
        _runtime._runtime.reset()


def test_original_times_in_the_future_are_refused(tmp_path: Path) -> None:
    """They are refused before anything is published: events of tomorrow would be in no window and no answer of today."""
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["execution"]["executedAt"] = "2090-12-28T16:54:52+00:00"
    with pytest.raises(InputError, match=r"executedAt is '2090-.*ends in the future"):
        run((written(tmp_path, document),), "ns", original_times=True)
