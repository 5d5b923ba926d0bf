"""A stage is a process: tasks of the same process are one stage, whichever system ran and named them."""

import copy
import time
from pathlib import Path
from typing import Any

import pytest

from publishers.wfformat.read import read
from publishers.wfformat.stages import Named, stages_of
from tests.unit.workflow_files import DIAMOND, a_document, a_task, executed, specified, written

HASH = "e44795d1813a48f0ac5efb99478f11e6"
UUID = "830e8726-c7a7-4f64-a61d-4cc889f76c07"


def stages_by_name(system: str, *names: str, ids: tuple[str, ...] = ()) -> list[str]:
    """Return the stages of tasks that only have names; without ``ids`` the names are the ids."""
    return stages_of(
        [Named(task, name, "", "") for task, name in zip(ids or names, names, strict=True)], system
    )


def snakemake_document() -> dict[str, Any]:
    """Return a run of Snakemake as WfCommons converts it: rules that the workflow itself runs have no program."""
    document = a_document(
        a_task("getReads_ID0000001", [], program="n/a"),
        a_task("getReads_ID0000002", [], program="n/a"),
        a_task("quantify_ID0000003", ["getReads_ID0000001"], program="salmon"),
        a_task("quantify_ID0000004", ["getReads_ID0000002"], program="salmon"),
        a_task("indexTrans_ID0000005", [], program="salmon"),
        a_task("end_ID0000006", ["quantify_ID0000003", "quantify_ID0000004"], program="n/a"),
    )
    document["runtimeSystem"] = {"name": "Snakemake", "version": "9"}
    return document


def test_stage_of_snakemake_is_the_rule_not_the_program_of_many_rules(tmp_path: Path) -> None:
    trace = read(written(tmp_path, snakemake_document()))
    assert dict(trace.tasks_per_stage) == {"getReads": 2, "quantify": 2, "indexTrans": 1, "end": 1}
    programs = {task.id: task.args.get("program") for task in trace.tasks}
    assert programs["quantify_ID0000003"] == "salmon"
    assert programs["end_ID0000006"] is None


@pytest.mark.parametrize("program", ["n/a", "N/A", "unknown", "None", "null", "-", "", " ", None])
def test_program_that_means_not_known_is_not_a_stage(tmp_path: Path, program: object) -> None:
    document = copy.deepcopy(DIAMOND)
    for task in executed(document):
        task["command"]["program"] = program
    for task, name in zip(specified(document), ("prepare", "cook", "cook", "serve"), strict=True):
        task["name"] = name
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {"prepare": 1, "cook": 2, "serve": 1}


def test_category_is_the_stage_wherever_it_is_in_the_file(tmp_path: Path) -> None:
    """Up to 1.4 the category is a field of the format; Nextflow's converters write it into 1.5 too."""
    document = copy.deepcopy(DIAMOND)
    executed(document)[1]["category"] = "boil"
    specified(document)[2]["category"] = "boil"
    executed(document)[3]["category"] = "n/a"
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {"cook": 2, "boil": 2}


def test_script_is_not_a_programs_name(tmp_path: Path) -> None:
    document = copy.deepcopy(DIAMOND)
    for number, task in enumerate(executed(document)):
        task["command"]["program"] = f"set -e\ncook --pot {number}"
    for task in specified(document):
        task["name"] = "cook"
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {"cook": 4}


@pytest.mark.parametrize(
    ("name", "process"),
    [
        (
            "NFCORE_RNASEQ:PREPARE_GENOME:GUNZIP_GTF (R64-1-1.115.gtf.gz)",
            "NFCORE_RNASEQ:PREPARE_GENOME:GUNZIP_GTF",
        ),
        ("NFCORE_X:Y:PROCESS (SAMPLE)", "NFCORE_X:Y:PROCESS"),
        ("PROCESS (sample 12)", "PROCESS"),
        ("PROCESS (a (b) c)", "PROCESS"),
        ("PROCESS (1)", "PROCESS"),
        ("PROCESS(sample)", "PROCESS"),
        (f"A:PROCESS__R64-1-1.gtf.gz__#task/{HASH}", "A:PROCESS"),
        (f"A:PROCESS__rsem/R64-1-1.fa__#task/{HASH}", "A:PROCESS"),
        ("A:PROCESS__wgs_calling.hg38__ID0000001", "A:PROCESS"),
        ("A:PROCESS__HG00096__ID1298074214633706907132624082305024", "A:PROCESS"),
        ("A:MULTIQC_ID17917957937422433684459538244547554224973163977877196279", "A:MULTIQC"),
        ("A:MY__PROCESS_ID3", "A:MY__PROCESS"),
        (f"A:PROCESS_#task/{HASH}", "A:PROCESS"),
        (f"A:PROCESS_{HASH}", "A:PROCESS"),
        ("A:PROCESS [ab/123456]", "A:PROCESS"),
        ("A:PROCESS", "A:PROCESS"),
        ("A:BOWTIE_2", "A:BOWTIE_2"),
    ],
)
def test_stage_of_nextflow_is_the_process_without_sample_and_hash(name: str, process: str) -> None:
    assert stages_by_name("Nextflow", name, "OTHER") == [process, "OTHER"]
    assert stages_by_name("Nextflow", name, "OTHER", ids=("ID000001", "ID000002")) == [process, "OTHER"]


def test_nextflow_tasks_of_an_ro_crate_are_one_stage_per_process(tmp_path: Path) -> None:
    """WfCommons converts an RO-Crate to tasks without a program, each with a unique name and id."""
    names = [f"NFCORE:QC:FASTQC (sample {number})" for number in range(20)] + ["NFCORE:MULTIQC"]
    document = a_document(*(a_task(f"{name}_#task/{number:032x}", []) for number, name in enumerate(names)))
    document["runtimeSystem"]["name"] = "Nextflow"
    for task, name in zip(specified(document), names, strict=True):
        task["name"] = name
    for task in executed(document):
        task["command"] = {"arguments": []}
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {
        "NFCORE:QC:FASTQC": 20,
        "NFCORE:MULTIQC": 1,
    }
    for task in specified(document):
        task["name"] = task["id"] = task["id"].replace(" (", "__").replace(")", "_").replace(" ", "_")
    for task, spec in zip(executed(document), specified(document), strict=True):
        task["id"] = spec["id"]
    assert dict(read(written(tmp_path, document)).tasks_per_stage) == {
        "NFCORE:QC:FASTQC": 20,
        "NFCORE:MULTIQC": 1,
    }


def test_nextflow_program_is_the_process_if_the_name_is_program_and_sample() -> None:
    """WfCommons reads Nextflow's reports like this; in other files the program is the process's whole script."""
    tasks = [
        Named("ID1", "fq_lint_gse110004_srr6357070", "", "fq_lint"),
        Named("ID2", "fq_lint_gse110004_srr6357076", "", "fq_lint"),
        Named("ID3", "A.MULTIQC", "", "multiqc -f ."),
        Named("ID4", "A.MULTIQC", "", "multiqc -f ."),
    ]
    assert stages_of(tasks, "Nextflow") == ["fq_lint", "fq_lint", "A.MULTIQC", "A.MULTIQC"]


@pytest.mark.parametrize(
    ("name", "process"),
    [
        ("quantify_ID0000003", "quantify"),
        (f"main.cwl#chromosome/run/individuals_#{UUID}", "main.cwl#chromosome/run/individuals"),
        (f"align-{UUID}", "align"),
        (f"align.{HASH}", "align"),
        ("align[3]", "align"),
        ("align[sample=A]", "align"),
        ("wf.align/shard-3", "wf.align"),
        ("wf.align-shard-12", "wf.align"),
        ("chr21", "chr21"),
        ("report_2024", "report_2024"),
        ("step 2", "step 2"),
        ("12", "12"),
        (HASH, HASH),
        ("_ID7", "_ID7"),
        ("(x)", "(x)"),
        ("naïve_ID3", "naïve"),
    ],
)
def test_name_gives_the_process_when_nothing_else_does(name: str, process: str) -> None:
    assert stages_by_name("", name, "other") == [process, "other"]


@pytest.mark.parametrize(
    ("names", "processes"),
    [
        (("rule_name_17", "rule_name_18", "all_19"), ["rule_name", "rule_name", "all"]),
        (("align_1", "align_2", "report_2024", "load"), ["align", "align", "report_2024", "load"]),
        (("align-ab12cd34", "align-12ffab99", "load"), ["align", "align", "load"]),
        (("cpuhog_chain_00000001", "cpuhog_chain_00000002"), ["cpuhog_chain", "cpuhog_chain"]),
        (("Task 1", "Task 12"), ["Task", "Task"]),
        (("chr1", "chr2"), ["chr1", "chr2"]),
        (("1", "2"), ["1", "2"]),
    ],
)
def test_number_that_distinguishes_tasks_is_not_part_of_the_process(
    names: tuple[str, ...], processes: list[str]
) -> None:
    assert stages_by_name("", *names) == processes


def test_number_in_every_name_is_a_counter_even_if_the_id_has_another() -> None:
    names = ("mProject_1", "mProject_2", "mDiffFit_3")
    assert stages_by_name("", *names, ids=("ID0", "ID1", "ID2")) == ["mProject", "mProject", "mDiffFit"]


def test_number_that_tasks_share_or_only_some_have_belongs_to_the_process() -> None:
    ids = ("0", "1", "2", "3")
    assert stages_by_name("Parsl", "stage_1", "stage_1", "stage_2", "sink", ids=ids) == [
        "stage_1",
        "stage_1",
        "stage_2",
        "sink",
    ]
    assert stages_by_name("Snakemake", "step_1", "step_1", "step_2", "step_3", ids=ids)[:2] == [
        "step_1",
        "step_1",
    ]


def test_single_job_of_snakemake_is_numbered_too() -> None:
    assert stages_by_name("Snakemake", "all_19") == ["all"]
    assert stages_by_name("", "phase_2") == ["phase_2"]


def test_program_is_the_stage_if_the_name_is_meaningless() -> None:
    tasks = [Named("1", "1", "", "salmon"), Named("ID0000002", "ID0000002", "", "salmon")]
    assert stages_of(tasks, "Snakemake") == ["salmon", "salmon"]


@pytest.mark.parametrize("system", ["Snakemake", "snakemake", "SNAKEMAKE 9", "Streamflow-ROCrate", "Airflow"])
def test_system_is_recognised_in_any_case_and_with_any_addition(system: str) -> None:
    tasks = [Named("a_ID1", "a_ID1", "", "python"), Named("b_ID2", "b_ID2", "", "python")]
    assert stages_of(tasks, system) == ["a", "b"]
    assert stages_of(tasks, "Pegasus") == ["python", "python"]


def test_hostile_names_take_linear_time() -> None:
    began = time.process_time()
    for name in (
        "a" + "_" * 300_000 + "1",
        " (" * 200_000,
        "_ID1" * 100_000,
        "_ID1" * 100_000 + "x",
        "a_" + "f0" * 300_000 + "z",
    ):
        assert stages_by_name("Nextflow", name, "b")[1] == "b"
    assert time.process_time() - began < 5
