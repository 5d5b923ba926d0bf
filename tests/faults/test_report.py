"""The report of the matrix: its counts, the saved results, and its place in the docs."""

from pathlib import Path

from tests.faults.report import (
    BACKWARDS,
    CLOCK,
    DUPLICATE,
    MARK_BEGIN,
    MARK_END,
    TIMED_OUT,
    bound,
    load,
    markdown,
    put_between_marks,
    save,
    totals,
)
from tests.faults.runs import LEAST
from tests.faults.scenario import Done, Outcome
from tests.faults.truth import Judgement

DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
RIGHT = Judgement(
    accepted=10,
    messages=12,
    events=10,
    not_in_topic=0,
    rows=40,
    lost=0,
    double=0,
    tables_different=(),
    differences=(),
)
GOOD = Outcome(
    name="mixed-01",
    seed=1,
    replicas=2,
    done=(Done("killed", "during copy", True, ""), Done("lock held", "after fold", False, "no effect")),
    published={"clocks_off": 1, "duplicates": 2},
    judgement=RIGHT,
    failures=(),
    seconds=60.0,
)
WRONG = GOOD._replace(
    name="mixed-02",
    judgement=RIGHT._replace(lost=1, tables_different=("jobs",), differences=("jobs('a', '1') is missing",)),
)


def test_a_fault_without_effect_does_not_count() -> None:
    found = totals([GOOD])
    assert (found["killed"], found["lock held"]) == (1, 0)


def test_saved_results_are_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert load(path) == []
    save(GOOD, path)
    save(WRONG, path)
    assert load(path) == [GOOD, WRONG]


def test_a_failed_scenario_is_reported_with_the_differences() -> None:
    assert (GOOD.holds, WRONG.holds) == (True, False)
    text = markdown([GOOD, WRONG], [("acknowledge before commit", WRONG)], seed=1, machine={"cores": "2"})
    assert "Failed: mixed-02, seed 1." in text
    assert "jobs('a', '1') is missing" in text
    assert "| acknowledge before commit | yes | 1 lost, 0 counted twice: jobs |" in text


def test_the_bound_is_three_in_n() -> None:
    assert bound(300) == "below 1 %"
    assert bound(2) == "nothing"


def test_the_report_in_the_docs_has_the_present_wording() -> None:
    """Compared are the heads of its tables, the rows of the first one, and the names of the kinds of faults."""
    page = DOCS.read_text(encoding="utf-8").partition(MARK_BEGIN)[2].partition(MARK_END)[0].splitlines()
    lines = markdown(
        [GOOD], [("acknowledge before commit", WRONG)], seed=1, machine={"cores": "2"}
    ).splitlines()
    first = lines.index("| | |")
    labels = [line.split("|")[1] for line in lines[first : lines.index("", first)]]
    start = page.index("| | |")
    assert [line.split("|")[1] for line in page[start : start + len(labels)]] == labels
    assert [line for line in lines if line.startswith(("| fault ", "| deliberate"))] == [
        line for line in page if line.startswith(("| fault ", "| deliberate"))
    ]
    kinds = {line.split("|")[1].strip() for line in page[page.index("", start) :] if line.count("|") == 6}
    assert kinds - {"fault", "---"} == set(LEAST) | {CLOCK, BACKWARDS, DUPLICATE, TIMED_OUT}


def test_a_report_replaces_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARK_BEGIN}\nold\n{MARK_END}\nafter\n")
    put_between_marks(page, "new\n")
    assert page.read_text() == f"before\n{MARK_BEGIN}\n\nnew\n\n{MARK_END}\nafter\n"
