"""The picture of a run: folded by stage, aligned, safe to print, and never longer than the limit."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime

from cli.render.lineage_tree import picture
from cli.render.safe_text import columns, safe, safe_lines, safe_name
from cli.render.tables import table
from schemas.contract import STATES
from store.answers import as_json
from store.answers.as_json import dumps
from store.answers.judging import Key
from store.answers.lineage import JobTree
from store.answers.stages import Stage
from store.answers.tree import Dependency, FailureMark, Link, dependency_tree, spawn_tree
from store.answers.verdicts import Lost, Stuck, Verdict

SYNC = Key(0, "SyncJob")
PAGE = Key(1, "MoviePageJob")
DETAIL = Key(2, "MovieDetailJob")
SHOWTIME = Key(2, "ShowtimeProcessJob")
LONG_AGO = datetime(2026, 11, 22, tzinfo=UTC)
STUCK = Verdict("stuck", Stuck(LONG_AGO, 360.0, 115, 0, 0, "115 waiting, none executing, …"))
LOST = Verdict(
    "lost", lost=Lost(1, LONG_AGO, 259_200.0, "executing for 3 d, the longest of its kind took 1 min")
)


def stage(key: Key, expected: int | None = None, verdict: Verdict | None = None, **states: int) -> Stage:
    total = sum(states.values())
    return Stage(key.depth, key.worker, total, expected, states, verdict, None if expected is None else total)


def links(child: Key, parent: Key | None, **states: int) -> list[Link]:
    return [Link(parent, child, state, jobs, f"{child.worker}-1") for state, jobs in states.items()]


def drawn(
    stages: list[Stage], joined: list[Link], marks: Mapping[Key, tuple[FailureMark, ...]] | None = None
) -> str:
    tops = spawn_tree(stages, joined, marks or {}, SYNC)
    return picture(JobTree("SyncJob-1", "kino", "spawned", tops, cut_at=None))


def test_the_incident_is_drawn_as_specified() -> None:
    stages = [
        stage(SYNC, completed=1),
        stage(PAGE, expected=136, completed=70, available=63, executing=3),
        stage(DETAIL, verdict=STUCK, available=115),
        stage(SHOWTIME, discarded=1111),
    ]
    joined = [
        *links(SYNC, None, completed=1),
        *links(PAGE, SYNC, completed=70, available=63, executing=3),
        *links(DETAIL, PAGE, available=115),
        *links(SHOWTIME, PAGE, discarded=1111),
    ]
    marks = {SHOWTIME: (FailureMark("movie_not_ready", 1111, 1),)}
    assert drawn(stages, joined, marks).splitlines() == [
        "SyncJob #SyncJob-1  completed",
        "└─ MoviePageJob             136   completed 70 · available 63 · executing 3",
        "   ├─ MovieDetailJob        115   available 115      ⚠ stuck for 6 min: 115 waiting, none executing, …",
        "   └─ ShowtimeProcessJob   1111   discarded 1111     ✗ movie_not_ready (1111, one group)",
    ]


def test_a_stage_that_lacks_jobs_shows_how_many_were_expected() -> None:
    text = drawn(
        [stage(SYNC, completed=1), stage(PAGE, expected=140, completed=136), stage(DETAIL, expected=5)],
        [*links(SYNC, None, completed=1), *links(PAGE, SYNC, completed=136)],
    )
    assert "⚠ 136 of 140 expected" in text
    assert re.search(r"MovieDetailJob +0 +none seen +⚠ 0 of 5 expected", text)


def test_a_stage_with_a_lost_job_is_marked() -> None:
    text = drawn(
        [stage(SYNC, completed=1), stage(PAGE, verdict=LOST, completed=2, executing=1)],
        [*links(SYNC, None, completed=1), *links(PAGE, SYNC, completed=2, executing=1)],
    )
    assert "⚠ 1 lost: executing for 3 d, the longest of its kind took 1 min" in text


def test_a_stage_with_two_parent_stages_has_a_line_under_each_and_its_marks_once() -> None:
    retry = Key(1, "RetryJob")
    stages = [
        stage(SYNC, completed=1),
        stage(PAGE, completed=9),
        stage(retry, completed=2),
        stage(DETAIL, verdict=STUCK, available=115),
    ]
    joined = [
        *links(SYNC, None, completed=1),
        *links(PAGE, SYNC, completed=9),
        *links(retry, SYNC, completed=2),
        *links(DETAIL, PAGE, available=100),
        *links(DETAIL, retry, available=15),
    ]
    lines = drawn(stages, joined).splitlines()
    assert [line for line in lines if "MovieDetailJob" in line] == [lines[2], lines[4]]
    assert "available 100" in lines[2]
    assert "stuck" in lines[2]
    assert "available 15" in lines[4]
    assert "stuck" not in lines[4]


def test_jobs_with_an_unknown_parent_are_below_the_root_with_a_note() -> None:
    text = drawn(
        [stage(SYNC, completed=1), stage(DETAIL, available=2)],
        [*links(SYNC, None, completed=1), *links(DETAIL, None, available=2)],
    )
    assert "└─ MovieDetailJob   2   available 2     (who spawned them is not known)" in text


def test_stages_that_spawn_each_other_in_a_circle_are_drawn_once_each() -> None:
    one, two = Key(1, "One"), Key(1, "Two")
    text = drawn(
        [stage(SYNC, completed=1), stage(one, completed=5), stage(two, completed=5)],
        [*links(SYNC, None, completed=1), *links(one, two, completed=5), *links(two, one, completed=5)],
    )
    assert [line.lstrip("│├└─ ").split()[0] for line in text.splitlines()] == ["SyncJob", "One", "Two"]


def test_a_workflow_is_drawn_by_its_dependencies() -> None:
    split, work, merge = Key(1, "split"), Key(1, "work"), Key(1, "merge")
    tops = dependency_tree(
        [
            stage(SYNC, completed=1),
            stage(split, completed=3),
            stage(work, completed=4),
            stage(merge, completed=1),
        ],
        [
            Dependency(split, work, 4, 4),
            Dependency(work, merge, 4, 1),
            Dependency(split, merge, 1, 1),
            Dependency(work, work, 2, 2),
        ],
        {},
        SYNC,
    )
    lines = picture(JobTree("SyncJob-1", "kino", "depends_on", tops, cut_at=None)).splitlines()
    assert [line.lstrip("│├└─ ").split()[0] for line in lines[-4:]] == ["SyncJob", "split", "work", "merge"]
    assert "(after split)" in lines[-1]


def test_a_long_picture_is_cut_with_the_number_of_missing_lines() -> None:
    many = [Key(1, f"Job{number:05}") for number in range(5_000)]
    stages = [stage(SYNC, completed=1), *(stage(key, completed=2) for key in many)]
    joined = [
        *links(SYNC, None, completed=1),
        *(link for key in many for link in links(key, SYNC, completed=2)),
    ]
    tops = spawn_tree(stages, joined, {}, SYNC)
    text = picture(JobTree("SyncJob-1", "kino", "spawned", tops, cut_at=100_000), most_lines=50)
    assert len(text.splitlines()) == 52
    assert "4951 more lines: see them with --lines" in text
    assert "Raise JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS" in text.splitlines()[-1]


def test_a_very_deep_lineage_is_drawn_to_a_limit_and_the_rest_counted() -> None:
    chain = [SYNC, *(Key(depth, "CrawlJob") for depth in range(1, 5_000))]
    joined = [
        link
        for at, key in enumerate(chain)
        for link in links(key, chain[at - 1] if at else None, completed=2)
    ]
    tops = spawn_tree([stage(key, completed=2) for key in chain], joined, {}, SYNC)
    tree = JobTree("SyncJob-1", "kino", "spawned", tops, cut_at=None)
    assert "(… 4899 more lines below: see `jobtrail lineage stats`)" in picture(tree, most_lines=200)
    assert "4899" in dumps(as_json.tree(tree))


def test_values_of_an_event_cannot_control_the_terminal() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07Job\r\n\u202egnp.exe\u200b\x9b31m\ud800"
    text = drawn(
        [stage(Key(0, hostile), completed=1)], [Link(None, Key(0, hostile), "completed", 1, "\x1b[31m1")]
    )
    assert all(line.isprintable() for line in text.splitlines())
    assert "\\x1b[2J" in text
    assert "\\u202e" in text
    cells = table(["a"], [[hostile]])
    assert all(line.isprintable() for line in cells.splitlines())
    assert all(line.isprintable() for line in safe_lines("Traceback\n\t" + hostile))


def test_long_text_is_cut_by_its_width_in_columns() -> None:
    assert safe("x" * 1_000_000, 10) == "xxxxxxxxx…"
    assert safe("映画" * 40, 10) == "映画映画…"
    assert columns(safe("映画" * 40, 10)) <= 10
    assert safe(None) == ""


def test_long_names_keep_their_distinguishing_end() -> None:
    names = [f"Elixir.Cinegraph.Workers.{'Deeply.' * 20}Movie{end}Job" for end in ("Detail", "Page")]
    shown = [safe_name(name, 30) for name in names]
    assert [columns(name) for name in shown] == [30, 30]
    assert [name[-7:] for name in shown] == ["tailJob", "PageJob"]
    assert columns(safe_name("映画" * 40, 11)) <= 11
    assert "MoviePageJob" in table(["worker"], [[names[1]]])


def test_the_count_of_each_state_is_shown_whole() -> None:
    counts = " · ".join(f"{state} 1,000,000" for state in STATES)
    assert counts in table(["states"], [[counts]])


def test_tables_with_wide_characters_stay_aligned() -> None:
    lines = table(["film", "jobs"], [["七人の侍", 7], ["Ran", 1111]], numbers=["jobs"]).splitlines()
    assert len({columns(line.rstrip()) for line in lines}) == 1


def test_a_long_stack_trace_keeps_its_end() -> None:
    lines = safe_lines("\n".join(f"line {number}" for number in range(100)), most=10)
    assert lines[0] == "… 90 lines left out"
    assert lines[-1] == "line 99"
