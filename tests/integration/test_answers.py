"""Gaps, jobs, failures, sources and runs, answered from tables that the real writer filled."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from schemas.contract import Event
from schemas.errors import InputError, NotFoundError
from store.answers.failures import get_failure_group, get_failure_groups
from store.answers.gaps import get_gaps
from store.answers.jobs import get_jobs
from store.answers.runs import get_runs
from store.answers.sources import Source, get_sources
from tests.integration.story import (
    KINO,
    NOW,
    ago,
    case,
    details_of,
    event,
    failure,
    incident,
    placed,
    root_of,
    showtimes_of,
    store_events,
)

SHOWTIMES = sum(showtimes_of(number) for number in range(70))


@pytest.fixture
def kino(database_url_each: str) -> Iterator[psycopg.Connection]:
    with closing(store_events(database_url_each, incident(expected=140))) as connection:
        yield connection


def test_a_job_that_spawned_fewer_children_than_announced_is_a_gap(kino: psycopg.Connection) -> None:
    found = get_gaps(kino, KINO, "12345")
    gap = found.missing[0]
    assert (found.missing_total, found.none) == (1, False)
    assert (gap.job_id, gap.child_worker, gap.expected, gap.spawned, gap.missing) == (
        "12345",
        "MoviePageJob",
        140,
        136,
        4,
    )


def test_completed_jobs_without_a_child_that_their_siblings_have_are_a_gap(kino: psycopg.Connection) -> None:
    childless = [f"page-{number:03}" for number in range(70) if details_of(number) == 0]
    (found,) = get_gaps(kino, KINO, "12345", limit=3).childless
    assert (found.worker, found.child_worker, found.without, found.with_some) == (
        "MoviePageJob",
        "MovieDetailJob",
        len(childless),
        70 - len(childless),
    )
    assert found.job_ids == childless[:3]


def test_a_job_that_announced_no_children_of_a_worker_has_no_gap(database_url: str) -> None:
    """But one that spawned more than it announced is a gap too."""
    events = [
        event("SyncJob", "1", "completed", ago(), expected_children={"PageJob": 1}, **root_of("1")),
        event("PageJob", "a", "completed", ago(), **placed("1", "1", 1)),
        event("PageJob", "b", "completed", ago(), expected_children={"DetailJob": 0}, **placed("1", "1", 1)),
        event("DetailJob", "c", "completed", ago(), **placed("1", "a", 2)),
    ]
    with closing(store_events(database_url, events)) as connection:
        found = get_gaps(connection, KINO, "1")
    assert found.childless == []
    assert [(gap.job_id, gap.missing) for gap in found.missing] == [("1", -1)]
    assert [(kept.job_id, kept.child_worker, kept.jobs, kept.spawned) for kept in found.kept] == [
        ("b", "DetailJob", 1, 0)
    ]


def test_a_run_without_gaps_has_none(database_url: str) -> None:
    events = [
        event("SyncJob", "1", "completed", ago(), expected_children={"PageJob": 1}, **root_of("1")),
        event("PageJob", "a", "completed", ago(), parent_job_id="1"),
    ]
    with closing(store_events(database_url, events)) as connection:
        assert get_gaps(connection, KINO, "1").none


def test_failed_jobs_have_their_error_and_their_parent(kino: psycopg.Connection) -> None:
    found = get_jobs(kino, KINO, "12345", worker="ShowtimeProcessJob", state="discarded", limit=5)
    assert (found.total, len(found.jobs)) == (SHOWTIMES, 5)
    job = found.jobs[0]
    assert (job.job_id, job.parent_job_id, job.parent_worker) == (
        "page-000-show-0",
        "page-000",
        "MoviePageJob",
    )
    assert (job.external_id, job.parent_external_id) == ("showtime:0-0", "film:0")
    assert (job.error_category, job.error_message) == (
        "movie_not_ready",
        "movie 1000 is not ready for showtime 0",
    )
    assert job.since == NOW - timedelta(minutes=5)
    waiting = get_jobs(kino, KINO, "12345", worker="MovieDetailJob")
    assert {job.state for job in waiting.jobs} == {"available"}
    assert get_jobs(kino, KINO, "page-000").total == 1 + details_of(0) + showtimes_of(0)


def test_failures_with_one_fingerprint_are_one_group_with_samples(kino: psycopg.Connection) -> None:
    (group,) = get_failure_groups(kino, namespace=KINO)
    assert (group.occurrence_count, group.job_count) == (SHOWTIMES, SHOWTIMES)
    assert (group.source, group.category, group.error_type) == (
        "kino-krakow",
        "movie_not_ready",
        "MovieNotReady",
    )
    assert group.first_seen_at == group.last_seen_at == NOW - timedelta(minutes=5)
    assert all(sample.startswith("showtime:") for sample in group.sample_external_ids)
    assert len(group.sample_external_ids) == 5


def test_failure_groups_are_filtered(kino: psycopg.Connection) -> None:
    with pytest.raises(NotFoundError, match="no such namespace: 'theatre'"):
        get_failure_groups(kino, namespace="theatre")
    with pytest.raises(NotFoundError, match="no such source: 'theatre'"):
        get_failure_groups(kino, source="theatre")
    with pytest.raises(NotFoundError, match="no such error category: 'timeout'"):
        get_failure_groups(kino, category="timeout")
    assert get_failure_groups(kino, since=NOW) == []
    assert len(get_failure_groups(kino, category="movie_not_ready", since=NOW - timedelta(hours=1))) == 1


def test_a_failure_group_is_shown_by_the_first_digits_of_its_id(kino: psycopg.Connection) -> None:
    (group,) = get_failure_groups(kino)
    found = get_failure_group(kino, str(group.id)[:8], limit=2)
    assert found.group.id == group.id
    assert [failure.stacktrace for failure in found.newest] == ["Traceback\n  boom"] * 2
    assert [hour.occurrence_count for hour in found.hours] == [SHOWTIMES]
    with pytest.raises(NotFoundError):
        get_failure_group(kino, "00000000-0000-0000-0000-000000000000")
    with pytest.raises(InputError, match="expected the id"):
        get_failure_group(kino, "'; DROP TABLE jobs")


def test_success_rates_count_attempts_and_final_outcomes_separately(database_url: str) -> None:
    """One job failed twice and recovered, one was discarded, one was cancelled, one never failed."""

    def ended(job_id: str, state: str, attempt: int, minutes: float) -> Event:
        error = failure("timeout", "too slow") if state in ("retryable", "discarded") else None
        return event(
            "PageJob", job_id, state, ago(minutes=minutes), attempt=attempt, source="krakow", error=error
        )

    events = [
        ended("recovers", "retryable", 1, 30),
        ended("recovers", "retryable", 2, 20),
        ended("recovers", "completed", 3, 10),
        ended("fails", "discarded", 1, 10),
        ended("stopped", "cancelled", 1, 10),
        ended("fine", "completed", 1, 10),
    ]
    with closing(store_events(database_url, events)) as connection:
        found = get_sources(connection, NOW - timedelta(hours=2, minutes=5))
        (krakow,) = found.sources
        assert get_sources(connection, NOW + timedelta(hours=1)).sources == []
    assert found.since == (NOW - timedelta(hours=2, minutes=5)).replace(minute=0)
    assert (krakow.completed, krakow.retryable, krakow.discarded, krakow.cancelled) == (2, 2, 1, 1)
    assert (krakow.attempts_rate, krakow.final_rate, krakow.recovered) == (2 / 5, 2 / 3, 1)


def sources_of(database_url: str, events: list[Event]) -> dict[str, Source]:
    """Return the answer of `sources` about these events, by source."""
    with closing(store_events(database_url, events)) as connection:
        return {one.source: one for one in get_sources(connection, NOW - timedelta(days=3_650)).sources}


def ends(job_id: str, *states: str, source: str = "krakow", **fields: Any) -> list[Event]:
    """Return the ends of a job's attempts, a minute apart; the last one was ten minutes ago."""
    error = failure("timeout", "too slow")
    return [
        event(
            "PageJob",
            job_id,
            state,
            ago(minutes=10 + len(states) - attempt),
            attempt=attempt,
            source=source,
            error=error if state in ("retryable", "discarded") else None,
            **fields,
        )
        for attempt, state in enumerate(states, start=1)
        if state
    ]


def test_a_job_that_failed_only_after_it_completed_has_not_recovered(database_url_each: str) -> None:
    """Completed at attempt 2, discarded at 3."""
    assert sources_of(database_url_each, case("recovered"))["s"].recovered == 0


@pytest.mark.parametrize(
    ("states", "recovered"),
    [
        (("retryable", "completed"), 1),
        (("retryable", "retryable", "completed"), 1),
        (("discarded", "completed"), 1),
        (("retryable", "completed", "completed"), 1),
        (("retryable", "completed", "retryable", "completed"), 1),
        (("retryable", "completed", "discarded"), 0),
        (("retryable", "completed", "retryable"), 0),
        (("retryable", "cancelled"), 0),
        (("cancelled", "completed"), 0),
        (("completed", "completed"), 0),
        (("retryable", "discarded"), 0),
    ],
)
def test_a_job_that_failed_then_completed_and_has_not_failed_since_is_recovered(
    database_url: str, states: tuple[str, ...], recovered: int
) -> None:
    assert sources_of(database_url, ends("job", *states))["krakow"].recovered == recovered


def test_attempt_numbers_and_not_clocks_say_what_came_later(database_url: str) -> None:
    """The clock of the first attempt's host is an hour ahead, so its failure seems later than the second attempt's end."""
    events = [
        event(
            "PageJob", "job", "retryable", ago(minutes=-60), source="krakow", error=failure("timeout", "x")
        ),
        event("PageJob", "job", "completed", ago(minutes=5), attempt=2, source="krakow"),
    ]
    assert sources_of(database_url, events)["krakow"].recovered == 1


def test_two_ends_of_one_attempt_are_not_a_recovery(database_url: str) -> None:
    """A reaper reported that attempt 2 failed, its worker that it completed."""
    events = ends("job", "", "completed")
    events += [
        event(
            "PageJob",
            "job",
            "retryable",
            ago(minutes=20),
            attempt=2,
            source="krakow",
            error=failure("lost", "no sign of life"),
        )
    ]
    assert sources_of(database_url, events)["krakow"].recovered == 0
    # If the first attempt failed too, in the same group, it is a recovery, although the group's last failure is the second's.
    events += [
        event(
            "PageJob",
            "job",
            "retryable",
            ago(days=2),
            attempt=1,
            source="krakow",
            error=failure("lost", "no sign of life"),
        )
    ]
    assert sources_of(database_url, events)["krakow"].recovered == 1


def test_a_job_that_ends_for_good_twice_is_two_final_outcomes_and_one_recovered_job(
    database_url: str,
) -> None:
    """Four ids are used twice each: the eight final outcomes are not eight jobs."""
    events = [one for number in range(4) for one in ends(f"job-{number}", "discarded", "completed")]
    found = sources_of(database_url, events)["krakow"]
    assert (found.completed, found.final_outcomes, found.attempts, found.recovered) == (4, 8, 8, 4)
    assert found.final_rate == 0.5


def test_runs_are_listed_newest_first_with_the_states_of_their_jobs(database_url: str) -> None:
    events = [
        *incident(),
        event(
            "flow",
            "w",
            "executing",
            ago(minutes=1),
            started_at=ago(minutes=2),
            namespace="flows",
            **root_of("w"),
        ),
    ]
    with closing(store_events(database_url, events)) as connection:
        newest, sync = get_runs(connection)
        assert [run.root for run in get_runs(connection, KINO)] == ["12345"]
        assert len(get_runs(connection, limit=1)) == 1
    assert (newest.root, newest.namespace, newest.executing) == ("w", "flows", 1)
    details = sum(details_of(number) for number in range(70))
    assert (sync.total, sync.completed, sync.discarded) == (137 + details + SHOWTIMES, 71, SHOWTIMES)
    assert (sync.waiting, sync.executing) == (63 + details, 3)
    assert sync.started_at == NOW - timedelta(minutes=20)
    assert sync.last_change_at == NOW - timedelta(minutes=5)
