"""Every version of WfFormat is read, with every layout, naming and linking of its tasks."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from publishers.wfformat.events import check_identity, events
from publishers.wfformat.read import Task, Trace, read
from schemas.contract import BYTES
from schemas.errors import InputError
from testing.examples import examples
from tests.unit.workflow_files import DIAMOND, a_document, a_task, executed, refused, specified, written

TRACES = Path(__file__).parent.parent / "traces"
EXPECTED: dict[str, Any] = json.loads((TRACES / "expected.json").read_text())
OLD_VERSIONS = ("1.0", "1.1", "1.2", "1.3", "1.4")


def as_old_version(document: dict[str, Any], version: str) -> dict[str, Any]:
    """Return a document of 1.5 in the layout of an old version. The tasks' names must differ."""
    execution = {task["id"]: task for task in executed(document)}
    names = {task["id"]: task["name"] for task in specified(document)}
    in_seconds = version == "1.4"
    tasks = []
    for task in specified(document):
        run = execution[task["id"]]
        command = run.get("command", {})
        entry: dict[str, Any] = {
            "name": task["name"],
            "type": "compute",
            "parents": [names[parent] for parent in task["parents"]],
            "runtimeInSeconds" if in_seconds else "runtime": run["runtimeInSeconds"],
        }
        if version in {"1.0", "1.1"}:
            entry["arguments"] = command.get("arguments", [])
        else:
            entry |= {"id": task["id"], "category": command["program"], "command": command}
        if run.get("machines"):
            entry["machine"] = run["machines"][0]
        tasks.append(entry)
    return {
        "name": document["name"],
        "schemaVersion": version,
        "wms": document["runtimeSystem"],
        "workflow": {
            "makespanInSeconds" if in_seconds else "makespan": 7,
            "executedAt": document["workflow"]["execution"]["executedAt"],
            "jobs" if version in {"1.0", "1.1", "1.2"} else "tasks": tasks,
        },
    }


def links(trace: Trace) -> dict[str, tuple[str, ...]]:
    return {task.id: task.parents for task in trace.tasks}


def task_of(trace: Trace, task_id: str) -> Task:
    return next(task for task in trace.tasks if task.id == task_id)


# ----------------------------------------------------------------------------------------------------- the version


def test_version_1_6_is_read_like_1_5_and_its_metrics_are_ignored(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    plain = read(written(tmp_path, document))
    document["schemaVersion"] = "1.6"
    document["workflow"]["specification"]["metrics"] = {"numberOfTasks": 99, "numberOfLevels": 3}
    document["workflow"]["execution"]["metrics"] = {"sumTaskRuntimesInSeconds": 10.0}
    executed(document)[0]["executedAt"] = "2020-12-28T16:54:52+00:00"
    assert read(written(tmp_path, document)).tasks == plain.tasks


def test_recorded_file_of_version_1_6_is_read() -> None:
    trace = read(TRACES / "helloworld-forkjoin-10-chameleon.json.gz")
    assert dict(trace.tasks_per_stage) == {"cpuhog": 10}
    assert (len(trace.tasks), trace.edges) == (10, 16)
    assert trace.executed_at is not None
    assert {task.executor for task in trace.tasks} == {"ubuntu"}


@pytest.mark.parametrize("version", ["1.5", "1.6", 1.5, 1.6])
def test_version_may_be_written_as_a_number(tmp_path: Path, version: object) -> None:
    assert len(read(written(tmp_path, DIAMOND | {"schemaVersion": version})).tasks) == 4


@pytest.mark.parametrize("version", ["1.7", "1.10", "2.0", "2", 2.0, "1.6.1-beta", "10.0"])
def test_newer_version_is_refused_with_the_known_versions_and_the_cure(
    tmp_path: Path, version: object
) -> None:
    message = refused(written(tmp_path, DIAMOND | {"schemaVersion": version}))
    assert f"expected 'schemaVersion' to be a version of WfFormat from 1.0 to 1.6, got {version!r}" in message
    if version != "1.6.1-beta":
        assert "Update jobtrail, or write the file as 1.6" in message


@pytest.mark.parametrize("version", ["0.2", "", "next", "v1.5", True, 1, [], {"major": 1}])
def test_unknown_version_is_refused_with_the_known_versions(tmp_path: Path, version: object) -> None:
    message = refused(written(tmp_path, DIAMOND | {"schemaVersion": version}))
    assert f"from 1.0 to 1.6, got {version!r}" in message
    assert "get the file in one of these versions" in message


@pytest.mark.parametrize("document", [{}, {"schemaVersion": None}, {"@graph": []}])
def test_file_without_a_version_is_refused(tmp_path: Path, document: dict[str, Any]) -> None:
    assert "'schemaVersion' is missing: expected a WfFormat file of version 1.0 to 1.6" in refused(
        written(tmp_path, document)
    )


# -------------------------------------------------------------------------------------------- one list of tasks, ≤ 1.4


OLD_TRACES = [name for name, expected in EXPECTED.items() if expected["run_system"] != "Nextflow"]


@pytest.mark.parametrize("version", OLD_VERSIONS)
@pytest.mark.parametrize("name", OLD_TRACES[: examples(10)])  # the fast loop takes one
def test_real_trace_written_in_an_old_version_has_the_same_graph_and_times(
    tmp_path: Path, version: str, name: str
) -> None:
    recent = TRACES / EXPECTED[name]["file"]
    document = json.loads(gzip.decompress(recent.read_bytes()))
    old, new = read(written(tmp_path, as_old_version(document, version))), read(recent)
    assert links(old) == links(new)
    assert [(task.runtime_us, task.executor) for task in old.tasks] == [
        (task.runtime_us, task.executor) for task in new.tasks
    ]
    assert (old.workflow, old.runtime_system, old.executed_at) == (
        new.workflow,
        new.runtime_system,
        new.executed_at,
    )
    if version not in {"1.0", "1.1"}:  # these have no program
        assert old.tasks_per_stage == new.tasks_per_stage


@pytest.mark.parametrize("version", OLD_VERSIONS)
def test_old_version_names_a_task_by_its_id_or_its_name(tmp_path: Path, version: str) -> None:
    """Ids and names differ; parents are named by either."""
    document = as_old_version(DIAMOND, version)
    tasks = document["workflow"]["jobs" if version in {"1.0", "1.1", "1.2"} else "tasks"]
    for number, task in enumerate(tasks):
        task |= {"id": f"ID{number:07}", "name": f"{task['name']}_ID{number:07}"}
        task["parents"] = [f"{parent}_ID{'abcd'.index(parent):07}" for parent in task["parents"]]
    tasks[3]["parents"] = ["ID0000001", "c_ID0000002"]
    assert links(read(written(tmp_path, document))) == {
        "ID0000000": (),
        "ID0000001": ("ID0000000",),
        "ID0000002": ("ID0000000",),
        "ID0000003": ("ID0000001", "ID0000002"),
    }


def test_old_version_distinguishes_tasks_by_name_if_ids_repeat(tmp_path: Path) -> None:
    document = as_old_version(DIAMOND, "1.4")
    for task in document["workflow"]["tasks"]:
        task["id"] = "ID0000001"
    assert sorted(links(read(written(tmp_path, document)))) == ["a", "b", "c", "d"]


def test_runtime_that_an_old_version_left_out_is_zero(tmp_path: Path) -> None:
    """Up to 1.4, WfCommons leaves out a runtime of 0."""
    document = as_old_version(DIAMOND, "1.3")
    del document["workflow"]["tasks"][1]["runtime"]
    assert task_of(read(written(tmp_path, document)), "b").runtime_us == 0


def test_old_version_counts_in_kilobytes_but_pegasus_in_bytes(tmp_path: Path) -> None:
    document = as_old_version(DIAMOND, "1.3")
    document["workflow"]["tasks"][0] |= {
        "bytesRead": 5,
        "bytesWritten": 6,
        "memory": 7,
        "cores": 2,
        "files": [
            {"name": "in", "size": 3, "link": "input"},
            {"name": "out", "sizeInBytes": 4, "link": "output"},
        ],
    }
    meta = task_of(read(written(tmp_path, document)), "a").meta
    assert (meta["read_bytes"], meta["written_bytes"], meta["memory_bytes"]) == ("5", "6", "7000")
    assert (meta["cores"], meta["input_files"], meta["output_files"], meta["output_bytes"]) == (
        "2",
        "1",
        "1",
        "4",
    )
    assert "input_bytes" not in meta, "the unit of `size` is not known"
    document["wms"] = {"name": "Makeflow"}
    meta = task_of(read(written(tmp_path, document)), "a").meta
    assert (meta["read_bytes"], meta["written_bytes"], meta["memory_bytes"]) == ("5000", "6000", "7000")


@pytest.mark.parametrize("version", ["1.4", "1.5", "1.6"])
def test_layout_is_detected_by_the_content_not_by_the_version(tmp_path: Path, version: str) -> None:
    """Some programs write the old layout with a new version, or the new one with an old version."""
    assert (
        len(read(written(tmp_path, as_old_version(DIAMOND, "1.3") | {"schemaVersion": version})).tasks) == 4
    )
    assert len(read(written(tmp_path, DIAMOND | {"schemaVersion": version})).tasks) == 4


def test_first_files_of_1_5_name_one_machine(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document)[0]["machine"] = "node-1"
    executed(document)[1]["machines"] = ["node-1", "node-2"]
    executed(document)[2]["machines"] = [{"nodeName": "node-3", "system": "linux"}]
    trace = read(written(tmp_path, document))
    assert [task_of(trace, task).executor for task in "abcd"] == ["node-1", "node-1, node-2", "node-3", ""]


# -------------------------------------------------------------------------------------------------- ids, names, links


def test_whole_numbers_are_ids_too(tmp_path: Path) -> None:
    document = a_document(a_task("0", []), a_task("1", ["0"]))
    specified(document)[0] |= {"id": 0, "children": [1]}
    specified(document)[1] |= {"id": 1, "parents": [0]}
    executed(document)[0]["id"] = 0
    assert links(read(written(tmp_path, document))) == {"0": (), "1": ("0",)}


def test_task_without_an_id_is_known_by_its_name(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    del specified(document)[0]["id"]
    specified(document)[1]["id"] = None
    executed(document)[1] |= {"id": "n/a", "name": "b"}
    assert links(read(written(tmp_path, document))) == links(read(written(tmp_path, DIAMOND)))


def test_tasks_without_ids_that_share_a_name_are_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    del specified(document)[1]["id"]
    specified(document)[1]["name"] = "a"
    message = refused(written(tmp_path, document))
    assert "workflow.specification.tasks[1]: the task has no id, and another task has its name 'a'" in message


@pytest.mark.parametrize("part", ["specification", "execution"])
def test_task_with_neither_id_nor_name_is_refused_with_its_place(tmp_path: Path, part: str) -> None:
    document = copy.deepcopy(DIAMOND)
    document["workflow"][part]["tasks"][2] = {"parents": [], "runtimeInSeconds": 1}
    message = refused(written(tmp_path, document))
    assert f"workflow.{part}.tasks[2]: the task has neither an id nor a name" in message


def test_names_may_repeat_where_ids_differ(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    for task in specified(document):
        task["name"] = "cook"
    assert links(read(written(tmp_path, document))) == links(read(written(tmp_path, DIAMOND)))


def test_parent_named_by_a_name_that_several_tasks_have_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    for task in specified(document)[1:3]:
        task["name"] = "cook"
    specified(document)[3]["parents"] = ["cook"]
    assert "task 'd' has the parent 'cook', which is the name of 2 tasks: name it by its id" in refused(
        written(tmp_path, document)
    )


def test_id_of_one_task_that_is_the_name_of_another_means_the_id(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    specified(document)[1]["name"] = "c"
    assert links(read(written(tmp_path, document))) == links(read(written(tmp_path, DIAMOND)))


def test_dependencies_in_only_one_direction_are_enough(tmp_path: Path) -> None:
    expected = links(read(written(tmp_path, DIAMOND)))
    for gone, value in (("parents", []), ("children", []), ("parents", None), ("children", None)):
        document = copy.deepcopy(DIAMOND)
        for task in specified(document):
            task[gone] = value
        assert links(read(written(tmp_path, document))) == expected
    document = copy.deepcopy(DIAMOND)
    del specified(document)[3]["parents"]
    del specified(document)[0]["children"]
    assert links(read(written(tmp_path, document))) == expected


@pytest.mark.parametrize("stand_in", ["", "n/a", "-", None, "None"])
def test_parents_that_mean_no_parent_are_ignored(tmp_path: Path, stand_in: object) -> None:
    document = copy.deepcopy(DIAMOND)
    specified(document)[0]["parents"] = [stand_in]
    specified(document)[3]["children"] = stand_in
    assert links(read(written(tmp_path, document))) == links(read(written(tmp_path, DIAMOND)))


def test_two_executions_of_one_task_are_refused_with_both_places(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document).append(executed(document)[1])
    message = refused(written(tmp_path, document))
    assert "workflow.execution.tasks[4]: task 'b' is already in workflow.execution.tasks[1]" in message


def test_execution_of_an_unknown_task_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document)[3]["id"] = "ghost"
    assert "task 'ghost' is in workflow.execution.tasks, but not in workflow.specification.tasks" in refused(
        written(tmp_path, document)
    )


# --------------------------------------------------------------------------------------------------- nothing to replay


@pytest.mark.parametrize("execution", [None, {}, {"tasks": []}, {"tasks": None}, "n/a"])
def test_workflow_that_was_not_executed_is_refused_as_such(tmp_path: Path, execution: object) -> None:
    document = copy.deepcopy(DIAMOND)
    document["workflow"]["execution"] = execution
    message = refused(written(tmp_path, document))
    assert "workflow.execution.tasks is" in message
    assert "a workflow, but not an execution of it, so there is nothing to replay" in message


def test_old_version_without_any_runtime_is_refused_as_not_executed(tmp_path: Path) -> None:
    document = as_old_version(DIAMOND, "1.4")
    for task in document["workflow"]["tasks"]:
        del task["runtimeInSeconds"]
    assert "no task in workflow.tasks has a runtime: the file describes a workflow" in refused(
        written(tmp_path, document)
    )


@pytest.mark.parametrize(
    ("workflow", "reason"),
    [
        ({}, "'workflow' is missing or empty"),
        (None, "'workflow' is missing or empty"),
        ([], "expected 'workflow' to be an object, got list"),
        ({"nodes": []}, "or workflow.tasks or workflow.jobs (1.0 to 1.4), found 'nodes'"),
        ({"tasks": []}, "workflow.tasks is empty: there is nothing to import"),
        ({"jobs": [1]}, "workflow.jobs[0]: expected an object, got int"),
        ({"specification": {"tasks": {}}}, "workflow.specification: expected 'tasks' to be a list, got dict"),
    ],
)
def test_file_of_another_layout_is_refused_with_its_place(
    tmp_path: Path, workflow: object, reason: str
) -> None:
    assert reason in refused(written(tmp_path, {"schemaVersion": "1.5", "workflow": workflow}))


@pytest.mark.parametrize(
    "runtime", ["n/a", "", "-", "unknown", [], 10**400, -(10**400), -0.5, 315_360_000.5, False]
)
def test_runtime_that_is_not_known_or_not_possible_is_refused_with_task_and_value(
    tmp_path: Path, runtime: object
) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document)[1]["runtimeInSeconds"] = runtime
    message = refused(written(tmp_path, document))
    assert "task 'b': expected runtimeInSeconds to be a number from 0 to 315360000" in message
    assert repr(runtime)[:60] in message
    assert len(message) < 400


def test_runtime_of_zero_is_kept(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    executed(document)[1]["runtimeInSeconds"] = -0.0
    assert task_of(read(written(tmp_path, document)), "b").runtime_us == 0


def test_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "kitchen.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(DIAMOND).encode())
    assert len(read(path).tasks) == 4
    path.write_bytes(b'\xef\xbb\xbf{"name" 1}')
    assert "line 1, column 9 (byte 11 of 13)" in refused(path)


# ------------------------------------------------------------------------------------------------ "not known", spelled


STAND_INS = ("n/a", "N/A", "NA", "unknown", "<unknown>", "(null)", "None", "", "-", "--", "?", " ", None)


@pytest.mark.parametrize("stand_in", STAND_INS)
def test_values_that_mean_not_known_are_left_out(tmp_path: Path, stand_in: object) -> None:
    document = copy.deepcopy(DIAMOND)
    document["name"] = stand_in
    document["runtimeSystem"] = {"name": stand_in, "version": stand_in}
    document["workflow"]["execution"] |= {"executedAt": stand_in, "makespanInSeconds": stand_in}
    executed(document)[0] |= {
        "machines": [stand_in],
        "coreCount": stand_in,
        "avgCPU": -1,
        "memoryInBytes": None,
        "command": {"program": stand_in, "arguments": None},
    }
    executed(document)[1] |= {"machines": stand_in, "command": stand_in}
    specified(document)[0] |= {"inputFiles": stand_in, "outputFiles": [None]}
    trace = read(written(tmp_path, document))
    assert (trace.workflow, trace.runtime_system) == ("kitchen", "")
    assert (trace.executed_at, trace.executed_at_text) == (None, "")
    assert trace.meta.keys() == {"trace_file", "trace_sha256"}
    for task in (task_of(trace, "a"), task_of(trace, "b")):
        assert (task.stage, task.executor, task.args, task.meta) == (task.id, "", {}, {})


@pytest.mark.parametrize(
    ("half", "key", "value", "reason"),
    [
        (specified, "name", ["a"], "expected 'name' to be a text, got list"),
        (specified, "id", 1.5, "expected 'id' to be a text, got float"),
        (specified, "id", True, "expected 'id' to be a text, got bool"),
        (specified, "parents", "a", "expected 'parents' to be a list, got str"),
        (specified, "parents", [{"id": "a"}], "expected 'parents' to hold names, got {'id': 'a'}"),
        (executed, "command", ["cook"], "expected 'command' to be an object, got list"),
        (executed, "command", {"program": ["cook"]}, "expected 'program' to be a text, got list"),
        (executed, "category", {}, "expected 'category' to be a text, got dict"),
        (executed, "machines", [["m"]], "expected 'machines' to hold names, got ['m']"),
    ],
)
def test_field_of_another_type_is_refused_with_task_and_type(
    tmp_path: Path, half: Any, key: str, value: object, reason: str
) -> None:
    document = copy.deepcopy(DIAMOND)
    half(document)[3][key] = value
    message = refused(written(tmp_path, document))
    assert reason in message
    assert "task 'd'" in message or "tasks[3]" in message


# ------------------------------------------------------------------------------------------------------ any damage


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([*STAND_INS, "a", "b", 10**400, "\0", "x" * 600]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def places_in(node: Any) -> list[tuple[Any, Any]]:
    """Return every container in a document with each of its keys."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [place for key in keys for place in [(node, key), *places_in(node[key])]]


@given(st.data())
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damaged_file_is_refused_with_input_error_or_becomes_events_of_the_contract(
    tmp_path: Path, data: st.DataObject
) -> None:
    """With up to three values replaced by any others, only InputError is raised, and every event can be stored."""
    document = copy.deepcopy(
        data.draw(st.sampled_from([DIAMOND, *(as_old_version(DIAMOND, version) for version in OLD_VERSIONS)]))
    )
    for _ in range(data.draw(st.integers(1, 3))):
        node, key = data.draw(st.sampled_from(places_in(document)))
        node[key] = data.draw(ANY_JSON)
    try:
        trace = read(written(tmp_path, document))
        check_identity("ns", "run", trace)
    except InputError:
        return
    for due in events(trace, "ns", "run", 1_000):
        for name, most in BYTES.items():
            assert len(due.fields.get(name, "").encode()) <= most
        assert "\0" not in due.fields["worker"] + due.fields["job_id"]
        assert due.fields["worker"].strip()
