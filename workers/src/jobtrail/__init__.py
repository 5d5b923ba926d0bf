"""Say what your background jobs do: lifecycle events, lineage and failures, sent to Apache Pulsar.

    import jobtrail

    @jobtrail.job(queue="scraping", max_attempts=3)
    def import_movie(movie_id): ...

Nothing here raises into a job or holds it up: events are queued, sent in the background, and counted when dropped.
Importing this package does no work; it connects when the first event is made.
"""

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from jobtrail._classify import DEFAULT_CATEGORIES
from jobtrail._context import current, wrap
from jobtrail._contract import SCHEMA_SHA256, SCHEMA_TEXT, STATES, JobError, JobEvent, JobState
from jobtrail._counts import Stats
from jobtrail._enqueue import enqueued
from jobtrail._errors import Cancel, ConfigurationError, Discard, InvalidEvent, JobtrailError, Retry
from jobtrail._events import event
from jobtrail._job import Job
from jobtrail._options import JobOptions
from jobtrail._runtime import configure, flush, shutdown, stats

F = TypeVar("F", bound=Callable[..., Any])


@overload
def job(worker: F, /) -> F: ...
@overload
def job(worker: str = "", **options: Unpack[JobOptions]) -> Job: ...
def job(worker: Any = "", **options: Unpack[JobOptions]) -> Any:
    """Record a job: ``with jobtrail.job("MoviePageJob") as job:``, ``async with``, or a decorator.

    At entry it is reported as executing; at its end as completed, or after an exception as retryable (attempts are
    left), discarded (none are) or cancelled. The exception goes on unchanged. ``worker`` is the function's qualified
    name on a decorator, and that of the headers with headers, when not given. The options are those of JobOptions.
    """
    if isinstance(worker, str):
        return Job(worker, options)
    return Job("", options)(worker)


def expect(worker: str, count: int) -> None:
    """Say that the current job is going to spawn ``count`` children of a kind: ``expect("MoviePageJob", 108)``."""
    running = current()
    if running is not None:
        running.expect(worker, count)


__all__ = [
    "DEFAULT_CATEGORIES",
    "SCHEMA_SHA256",
    "SCHEMA_TEXT",
    "STATES",
    "Cancel",
    "ConfigurationError",
    "Discard",
    "InvalidEvent",
    "Job",
    "JobError",
    "JobEvent",
    "JobOptions",
    "JobState",
    "JobtrailError",
    "Retry",
    "Stats",
    "configure",
    "current",
    "enqueued",
    "event",
    "expect",
    "flush",
    "job",
    "shutdown",
    "stats",
    "wrap",
]
