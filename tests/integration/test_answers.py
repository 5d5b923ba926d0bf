"""Gaps, jobs, failures, sources and runs, answered from tables that the real writer filled."""

from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta

import psycopg
import pytest

from schemas.contract import Event
from schemas.errors import InputError, NotFoundError
from store.answers.failures import get_failure_group, get_failure_groups
from store.answers.gaps import get_gaps
from store.answers.jobs import get_jobs
from store.answers.runs import get_runs
from store.answers.sources import get_sources
from tests.integration.story import (
    KINO,
    NOW,
    ago,
    details_of,
    event,
    failure,
    incident,
    placed,
    root_of,
    showtimes_of,
    tell,
)

SHOWTIMES = sum(showtimes_of(number) for number in range(70))


@pytest.fixture
def kino(database_url_each: str) -> Iterator[psycopg.Connection]:
    with closing(tell(database_url_each, incident(expected=140))) as connection:
        yield connection


def test_a_job_that_spawned_fewer_children_than_it_meant_to_is_a_gap(kino: psycopg.Connection) -> None:
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
    barren = [f"page-{number:03}" for number in range(70) if details_of(number) == 0]
    (found,) = get_gaps(kino, KINO, "12345", limit=3).barren
    assert (found.worker, found.child_worker, found.without, found.with_some) == (
        "MoviePageJob",
        "MovieDetailJob",
        len(barren),
        70 - len(barren),
    )
    assert found.job_ids == barren[:3]


def test_a_job_that_announced_no_children_of_a_kind_lacks_none(database_url: str) -> None:
    """And one that spawned more than it announced is a gap as well."""
    events = [
        event("SyncJob", "1", "completed", ago(), expected_children={"PageJob": 1}, **root_of("1")),
        event("PageJob", "a", "completed", ago(), **placed("1", "1", 1)),
        event("PageJob", "b", "completed", ago(), expected_children={"DetailJob": 0}, **placed("1", "1", 1)),
        event("DetailJob", "c", "completed", ago(), **placed("1", "a", 2)),
    ]
    with closing(tell(database_url, events)) as connection:
        found = get_gaps(connection, KINO, "1")
    assert found.barren == []
    assert [(gap.job_id, gap.missing) for gap in found.missing] == [("1", -1)]
    assert [(kept.job_id, kept.child_worker, kept.jobs, kept.spawned) for kept in found.kept] == [
        ("b", "DetailJob", 1, 0)
    ]


def test_a_run_without_gaps_has_none(database_url: str) -> None:
    events = [
        event("SyncJob", "1", "completed", ago(), expected_children={"PageJob": 1}, **root_of("1")),
        event("PageJob", "a", "completed", ago(), parent_job_id="1"),
    ]
    with closing(tell(database_url, events)) as connection:
        assert get_gaps(connection, KINO, "1").none


def test_failed_jobs_say_why_and_whose_children_they_are(kino: psycopg.Connection) -> None:
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


def test_failures_of_one_kind_are_one_group_with_samples(kino: psycopg.Connection) -> None:
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


def test_failure_groups_are_found_by_what_is_asked(kino: psycopg.Connection) -> None:
    assert get_failure_groups(kino, namespace="theatre") == []
    assert get_failure_groups(kino, source="theatre") == []
    assert get_failure_groups(kino, category="timeout") == []
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


def test_success_rates_count_attempts_and_jobs_apart(database_url: str) -> None:
    """One job failed twice and recovered, one failed for good, one was cancelled, one was never in trouble."""

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
    with closing(tell(database_url, events)) as connection:
        found = get_sources(connection, NOW - timedelta(hours=2, minutes=5))
        (krakow,) = found.sources
        assert get_sources(connection, NOW + timedelta(hours=1)).sources == []
    assert found.since == (NOW - timedelta(hours=2, minutes=5)).replace(minute=0)
    assert (krakow.completed, krakow.retryable, krakow.discarded, krakow.cancelled) == (2, 2, 1, 1)
    assert (krakow.attempts_rate, krakow.jobs_rate, krakow.recovered) == (2 / 5, 2 / 3, 1)


def test_runs_are_listed_newest_first_with_where_their_jobs_stand(database_url: str) -> None:
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
    with closing(tell(database_url, events)) as connection:
        newest, sync = get_runs(connection)
        assert [run.root for run in get_runs(connection, KINO)] == ["12345"]
        assert len(get_runs(connection, limit=1)) == 1
    assert (newest.root, newest.namespace, newest.executing) == ("w", "flows", 1)
    details = sum(details_of(number) for number in range(70))
    assert (sync.total, sync.completed, sync.failed) == (137 + details + SHOWTIMES, 71, SHOWTIMES)
    assert (sync.waiting, sync.executing) == (63 + details, 3)
    assert sync.started_at == NOW - timedelta(minutes=20)
    assert sync.last_change_at == NOW - timedelta(minutes=5)
