"""The report of the matrix: what it counts, what it keeps, where it goes."""

from pathlib import Path

from tests.faults.report import MARK_BEGIN, MARK_END, bound, load, markdown, put_between_marks, save, totals
from tests.faults.scenario import Done, Outcome
from tests.faults.truth import Judgement

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


def test_what_was_saved_is_loaded_again(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    assert load(path) == []
    save(GOOD, path)
    save(WRONG, path)
    assert load(path) == [GOOD, WRONG]


def test_a_scenario_that_failed_is_told_with_what_differs() -> None:
    assert (GOOD.holds, WRONG.holds) == (True, False)
    text = markdown([GOOD, WRONG], [("acknowledge before commit", WRONG)], seed=1, machine={"cores": "2"})
    assert "Failed: mixed-02, seed 1." in text
    assert "jobs('a', '1') is missing" in text
    assert "| acknowledge before commit | yes | 1 lost, 0 counted twice: jobs |" in text


def test_the_bound_is_three_in_n() -> None:
    assert bound(300) == "below 1 %"
    assert bound(2) == "nothing"


def test_a_report_takes_the_place_of_the_last_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARK_BEGIN}\nold\n{MARK_END}\nafter\n")
    put_between_marks(page, "new\n")
    assert page.read_text() == f"before\n{MARK_BEGIN}\n\nnew\n\n{MARK_END}\nafter\n"
