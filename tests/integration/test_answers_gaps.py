"""Gaps of a run: a warning where something is missing, and none where that cannot be known."""

from collections.abc import Iterable
from contextlib import closing
from typing import Any

from schemas.contract import Event
from store.answers.gaps import Gaps, get_gaps
from store.answers.lineage import get_pipeline_stats
from tests.integration.story import KINO, NOW, ago, event, failure, placed, root_of, store_events

LONG_AGO = ago(hours=2)


def gaps_of(database_url: str, events: Iterable[Event], **asked: Any) -> Gaps:
    with closing(store_events(database_url, events)) as connection:
        return get_gaps(connection, KINO, "w", now=NOW, **asked)


def done(worker: str, job_id: str, parent: str, depth: int, at: int = LONG_AGO, **fields: Any) -> Event:
    return event(worker, job_id, "completed", at, **placed("w", parent, depth), **fields)


def root(at: int = LONG_AGO, state: str = "completed", **fields: Any) -> Event:
    return event("flow", "w", state, at, **root_of("w"), **fields)


def warnings(found: Gaps) -> list[tuple[str, str, int, int, list[str]]]:
    return [
        (group.worker, group.child_worker, group.without, group.with_some, group.job_ids)
        for group in found.childless
        if not group.why_not
    ]


def chord(name: str, headers: int, spawned: bool = True, depth: int = 2) -> list[Event]:
    """Return a job that starts several headers; the header that ends last starts the body."""
    events = [done("start", name, "w", depth - 1)]
    events += [done("header", f"{name}.{at}", name, depth) for at in range(headers)]
    if spawned:
        events.append(done("body", f"{name}.body", f"{name}.{headers // 2}", depth + 1))
    return events


def test_the_body_of_a_chord_is_not_a_gap_of_the_other_headers(database_url_each: str) -> None:
    found = gaps_of(database_url_each, [root(), *chord("c", 100)])
    assert found.none
    assert found.childless == []


def test_chords_of_any_size_have_no_gap(database_url: str) -> None:
    """Many have only one or two headers, so most headers have a body."""
    sizes = [1] * 10 + [2] * 5 + [3, 7]
    events = [root()]
    for number, size in enumerate(sizes):
        events += chord(f"c{number}", size)
    assert gaps_of(database_url, events).childless == []


def test_a_chord_without_its_body_is_a_gap_of_the_job_that_started_it(database_url: str) -> None:
    events = [root()]
    for number in range(10):
        events += chord(f"c{number}", 4, spawned=number != 7)
    assert warnings(gaps_of(database_url, events)) == [("start", "body", 1, 9, ["c7"])]


def test_a_chord_with_a_failed_header_needs_no_body(database_url: str) -> None:
    events = [root()]
    for number in range(10):
        events += chord(f"c{number}", 4, spawned=number != 7)
    error = failure("timeout", "no")
    events.append(event("header", "c7.9", "discarded", LONG_AGO, error=error, **placed("w", "c7", 2)))
    assert gaps_of(database_url, events).childless == []


def test_a_chord_with_headers_of_several_workers_has_no_gap(database_url: str) -> None:
    """An image, a text and a sound: the one that ends last starts the page."""
    events = [root()]
    for number in range(12):
        name = f"c{number}"
        events.append(done("start", name, "w", 1))
        events += [done(worker, f"{name}.{worker}", name, 2) for worker in ("image", "text", "sound")]
        last = ("image", "text", "image")[number % 3]
        events.append(done("page", f"{name}.page", f"{name}.{last}", 3))
    assert gaps_of(database_url, events).childless == []


def test_the_end_of_a_chain_of_one_worker_is_not_a_gap(database_url: str) -> None:
    """There are three listings of 2, 3 and 5 pages; each page starts the next one."""
    events = [root()]
    for name, pages in (("a", 2), ("b", 3), ("c", 5)):
        for at in range(pages):
            parent = f"{name}{at - 1}" if at else "w"
            events.append(done("page", f"{name}{at}", parent, at + 1))
    assert gaps_of(database_url, events).childless == []


def test_the_end_of_a_chain_of_two_alternating_workers_is_not_a_gap(database_url: str) -> None:
    events = [root()]
    for name, steps in (*((f"long{at}", 6) for at in range(8)), ("short", 4)):
        for at in range(steps):
            parent = f"{name}.{at - 1}" if at else "w"
            events.append(done(("fetch", "parse")[at % 2], f"{name}.{at}", parent, at + 1))
    assert gaps_of(database_url, events).childless == []


def test_a_chain_of_different_workers_that_broke_off_is_a_gap(database_url: str) -> None:
    """One of ten chains fetch → parse → store stops after parse, which completed."""
    events = [root()]
    for number in range(10):
        events += [
            done("fetch", f"f{number}", "w", 1),
            done("parse", f"p{number}", f"f{number}", 2),
        ]
        if number != 3:
            events.append(done("store", f"s{number}", f"p{number}", 3))
    assert warnings(gaps_of(database_url, events)) == [("parse", "store", 1, 9, ["p3"])]


def test_a_child_of_only_one_sibling_is_not_expected_of_the_others(database_url: str) -> None:
    """The first job of a batch starts a report; nothing says that the others should."""
    events = [root(), *(done("item", f"i{at}", "w", 1) for at in range(20)), done("report", "r", "i0", 2)]
    assert gaps_of(database_url, events).childless == []


def test_a_child_that_half_of_the_siblings_have_is_named_without_a_warning(database_url: str) -> None:
    events = [root(), *(done("page", f"p{at}", "w", 1) for at in range(10))]
    events += [done("detail", f"d{at}", f"p{at}", 2) for at in range(5)]
    found = gaps_of(database_url, events)
    assert found.none
    assert [(group.without, group.with_some, group.why_not) for group in found.childless] == [
        (5, 5, "siblings")
    ]


def nine_of_ten(at: int, **fields: Any) -> list[Event]:
    """Return ten pages that completed, nine of them with a detail, all at one time."""
    events = [root(at), *(done("page", f"p{number}", "w", 1, at) for number in range(10))]
    return events + [done("detail", f"d{number}", f"p{number}", 2, at, **fields) for number in range(9)]


def test_a_run_at_work_whose_publisher_reports_no_waiting_jobs_has_no_gap(
    database_url: str,
) -> None:
    """The tenth detail may wait in its queue: its first event comes when it starts, or only when it ends."""
    found = gaps_of(database_url, nine_of_ten(ago(seconds=20)))
    assert (found.none, found.childless[0].why_not) == (True, "at_work")
    executing = event("page", "p10", "executing", LONG_AGO, **placed("w", "w", 1))
    found = gaps_of(database_url, [*nine_of_ten(LONG_AGO), executing])
    assert (found.none, found.childless[0].why_not) == (True, "at_work")


def test_a_missing_child_of_a_run_at_rest_is_a_warning(database_url: str) -> None:
    assert warnings(gaps_of(database_url, nine_of_ten(LONG_AGO))) == [("page", "detail", 1, 9, ["p9"])]


def test_a_missing_child_of_a_run_at_work_is_a_warning_if_waiting_jobs_are_reported(
    database_url: str,
) -> None:
    events = [
        *nine_of_ten(ago(seconds=20)),
        event("detail", "d9", "available", ago(seconds=20), **placed("w", "p0", 2)),
    ]
    assert warnings(gaps_of(database_url, events)) == [("page", "detail", 1, 9, ["p9"])]


def test_an_open_job_may_still_spawn_the_children_it_announced(database_url: str) -> None:
    at_work = root(ago(minutes=1), "executing", expected_children={"page": 5})
    events = [at_work, *(done("page", f"p{at}", "w", 1) for at in range(3))]
    with closing(store_events(database_url, events)) as connection:
        found = get_gaps(connection, KINO, "w", now=NOW)
        stages = {stage.worker: stage for stage in get_pipeline_stats(connection, KINO, "w", now=NOW).stages}
    assert found.none
    assert [(one.job_id, one.child_worker, one.expected, one.spawned) for one in found.pending] == [
        ("w", "page", 5, 3)
    ]
    assert (stages["page"].expected, stages["page"].spawned) == (5, None)
    found = gaps_of(database_url, [root(state="discarded", error=failure("timeout", "no"))])
    assert [(gap.job_id, gap.missing) for gap in found.missing] == [("w", 2)]


def test_more_children_than_announced_are_a_gap_before_the_job_ends(database_url: str) -> None:
    at_work = root(ago(minutes=1), "executing", expected_children={"page": 2})
    events = [at_work, *(done("page", f"p{at}", "w", 1) for at in range(3))]
    assert [gap.missing for gap in gaps_of(database_url, events).missing] == [-1]


def test_children_of_other_jobs_do_not_count_for_the_job_that_announced(database_url: str) -> None:
    """One job announced five details and spawned five; the other announced none and spawned three."""
    events = [
        root(),
        done("page", "says", "w", 1, expected_children={"detail": 5}),
        done("page", "silent", "w", 1),
        *(done("detail", f"a{at}", "says", 2) for at in range(5)),
        *(done("detail", f"b{at}", "silent", 2) for at in range(3)),
    ]
    with closing(store_events(database_url, events)) as connection:
        stages = {stage.worker: stage for stage in get_pipeline_stats(connection, KINO, "w", now=NOW).stages}
    detail = stages["detail"]
    assert (detail.total, detail.expected, detail.spawned) == (8, 5, 5)


def test_lists_of_gaps_stop_at_the_limit_and_count_the_rest(database_url: str) -> None:
    events = [root()]
    events += [done(f"kind{at}", f"k{at}", "w", 1, expected_children={"kept": 0}) for at in range(9)]
    events += [done("short", f"s{at}", "w", 1, expected_children={"page": 1, "mail": 1}) for at in range(4)]
    found = gaps_of(database_url, events, limit=3)
    assert (len(found.kept), found.kept_total) == (3, 9)
    assert (len(found.missing), found.missing_total) == (3, 8)


def test_no_job_is_called_childless_when_the_walk_was_cut(database_url: str) -> None:
    events = [event("flow", "w", "completed", LONG_AGO)]
    events += [event("page", f"p{at:02}", "completed", LONG_AGO, parent_job_id="w") for at in range(20)]
    events += [
        event("detail", f"d{at}", "completed", LONG_AGO, parent_job_id=f"p{at:02}") for at in range(19)
    ]
    assert warnings(gaps_of(database_url, events)) == [("page", "detail", 1, 19, ["p19"])]
    part = gaps_of(database_url, [], limit_jobs=15)
    assert (part.cut_at, part.childless, part.none) == (15, [], True)
