"""Names that are too long for an event are shortened, always to the same text, and never two names to one text."""

import copy
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtrail._text import identifier
from publishers.wfformat.events import Due, check_identity, count_events, events, job_id
from publishers.wfformat.names import check_distinct, shorten
from publishers.wfformat.read import read
from schemas.contract import BYTES, JOB_ID_BYTES, WORKER_BYTES
from schemas.errors import InputError
from tests.unit.workflow_files import DIAMOND, a_document, a_task, executed, specified, written

LONG = "NFCORE_RNASEQ:" * 30 + "ALIGN"


def texts_of(due: Due) -> list[tuple[str, str]]:
    """Return every text of an event that the contract limits, with its field."""
    fields = due.fields
    return [
        *((name, fields[name]) for name in BYTES if fields.get(name)),
        *(("job_id", job) for job in fields.get("depends_on", ())),
        *(("worker", worker) for worker in fields.get("expected_children", ())),
    ]


def test_long_stage_names_stay_different_and_are_the_same_in_every_import(tmp_path: Path) -> None:
    """Three processes' names differ in their last letter, or only in their length."""
    programs = [LONG + "_1", LONG + "_2", LONG, LONG]
    document = copy.deepcopy(DIAMOND)
    for task, program in zip(executed(document), programs, strict=True):
        task["command"]["program"] = program
    trace, again = (read(written(tmp_path, document, name)) for name in ("one.json", "two.json"))
    stages = {task.id: task.stage for task in trace.tasks}
    assert stages == {task.id: task.stage for task in again.tasks}
    assert len(set(stages.values())) == 3
    assert stages["c"] == stages["d"]
    assert sorted(trace.tasks_per_stage.values()) == [1, 1, 2]
    for one in trace.tasks:
        assert len(one.stage.encode()) <= WORKER_BYTES
        assert one.stage.startswith("NFCORE_RNASEQ:NFCORE_RNASEQ:")
        assert one.meta["stage"] == dict(zip("abcd", programs, strict=True))[one.id]


@pytest.mark.parametrize("name", ["x" * 300, "é" * 150])
def test_name_that_just_fits_is_unchanged(tmp_path: Path, name: str) -> None:
    (task,) = read(written(tmp_path, a_document(a_task("a", [], program=name)))).tasks
    assert task.stage == name
    assert "stage" not in task.meta


def test_everything_too_long_fits_the_contract_in_every_event(tmp_path: Path) -> None:
    """Names, ids and programs have 1,000 bytes: the contract accepts every event's fields, and no two jobs merge."""
    long_ids = [f"{LONG * 3}é{number}" for number in range(4)]
    document = a_document(
        a_task(long_ids[0], [], program=LONG * 2 + "0"),
        a_task(long_ids[1], long_ids[:1], program=LONG * 2 + "1"),
        a_task(long_ids[2], long_ids[:2], program=LONG * 2 + "1"),
        a_task(long_ids[3], long_ids[:3], program=LONG * 2 + "2"),
    )
    document["name"] = document["runtimeSystem"]["name"] = LONG * 2
    trace = read(written(tmp_path, document))
    run = "r" * 264  # the longest run id that a file's name can make
    check_identity("ns", run, trace)
    sent = list(events(trace, "ns", run, 1_000))
    assert len(sent) == count_events(trace)
    for due in sent:
        for field, text in texts_of(due):
            assert 0 < len(text.encode()) <= BYTES[field], field
        assert len(due.fields["external_id"].encode() if "external_id" in due.fields else b"") <= 500
    jobs = {due.fields["job_id"] for due in sent}
    assert len(jobs) == 5
    depends = {due.fields["job_id"]: due.fields["depends_on"] for due in sent if "depends_on" in due.fields}
    assert [len(parents) for parents in depends.values()] == [0, 1, 2, 3]
    assert {parent for parents in depends.values() for parent in parents} < jobs
    assert sorted(sent[0].fields["expected_children"].values()) == [1, 1, 2]
    assert set(sent[0].fields["expected_children"]) == {
        due.fields["worker"] for due in sent if due.fields.get("depth") == 1
    }
    last = [due.fields["meta"] for due in sent if due.fields.get("depth") == 1 and "meta" in due.fields]
    assert sorted(meta["task_id"] for meta in last) == sorted(long_ids)
    assert sent[0].fields["meta"]["workflow_name"] == LONG * 2


def test_job_id_is_made_of_run_id_and_task_id_if_it_fits() -> None:
    assert job_id("run", "t") == "run/t"
    assert job_id("r" * 99, "t" * 400) == f"{'r' * 99}/{'t' * 400}"
    short = job_id("r" * 100, "t" * 400)
    assert len(short.encode()) == JOB_ID_BYTES
    assert short.startswith("r" * 100 + "/ttt")
    assert short == job_id("r" * 100, "t" * 400) != job_id("r" * 100, "t" * 401)


def test_given_run_id_and_namespace_are_refused_if_too_long(tmp_path: Path) -> None:
    trace = read(written(tmp_path, DIAMOND))
    check_identity("n" * 200, "r" * 500, trace)
    with pytest.raises(InputError, match="the run's id is 501 bytes of UTF-8, at most 500"):
        check_identity("ns", "r" * 501, trace)
    with pytest.raises(InputError, match="--namespace is 201 bytes"):
        check_identity("n" * 201, "run", trace)
    with pytest.raises(InputError, match="--namespace is empty"):
        check_identity("", "run", trace)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=400), st.sampled_from([200, 300, 500]))
def test_shortening_equals_the_sdks_and_is_idempotent(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short.encode()) <= most
    assert shorten(short, most) == short
    if "\0" not in text:
        assert short == identifier(text, most)


def test_name_that_imitates_a_shortened_one_is_refused(tmp_path: Path) -> None:
    """Two processes never become one stage, even in a file made on purpose."""
    document = a_document(a_task("a", [], program=LONG), a_task("b", [], program=shorten(LONG, WORKER_BYTES)))
    with pytest.raises(InputError, match="two different names become the same"):
        read(written(tmp_path, document))
    check_distinct("here", ["a", "b", "a"], 300)


def test_long_sample_names_do_not_make_long_stages(tmp_path: Path) -> None:
    document = a_document(a_task("a", []), a_task("b", []))
    document["runtimeSystem"]["name"] = "Nextflow"
    for number, task in enumerate(specified(document)):
        task["name"] = f"NFCORE:ALIGN (sample {number} {'x' * 400})"
    for task in executed(document):
        del task["command"]
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {"NFCORE:ALIGN": 2}


def test_messages_cut_long_names(tmp_path: Path) -> None:
    document = a_document(a_task("a" * 100_000, ["b" * 100_000]), a_task("c", ["c"]))
    with pytest.raises(InputError, match="which is not in the file") as caught:
        read(written(tmp_path, document))
    assert len(str(caught.value)) < 500
    ring = a_document(*(a_task(letter * 100_000, [before * 100_000]) for letter, before in ("ab", "ba")))
    with pytest.raises(InputError, match="cycle of 2") as caught:
        read(written(tmp_path, ring))
    assert len(str(caught.value)) < 700
