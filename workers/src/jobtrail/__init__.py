"""Record what your background jobs do: lifecycle events, lineage and failures, sent to Apache Pulsar.

    import jobtrail

    @jobtrail.job(queue="scraping", max_attempts=3)
    def import_movie(movie_id): ...

Nothing here raises into a job or delays it: events are queued, sent in the background, and counted when dropped.
Importing this package does no work; it connects when the first event is made.
"""

from collections.abc import Callable
from typing import Any, TypeVar, Unpack, overload

from jobtrail._classify import DEFAULT_CATEGORIES
from jobtrail._context import wrap
from jobtrail._contract import SCHEMA_SHA256, SCHEMA_TEXT, STATES, JobError, JobEvent, JobState
from jobtrail._counts import Stats
from jobtrail._enqueue import enqueued
from jobtrail._errors import Cancel, ConfigurationError, Discard, InvalidEvent, JobtrailError, Retry
from jobtrail._events import event
from jobtrail._job import Job, current
from jobtrail._options import JobOptions
from jobtrail._runtime import configure, flush, shutdown, stats

F = TypeVar("F", bound=Callable[..., Any])


@overload
def job(worker: F, /) -> F: ...
@overload
def job(worker: str = "", **options: Unpack[JobOptions]) -> Job: ...
def job(worker: Any = "", **options: Unpack[JobOptions]) -> Any:
    """Record a job: ``with jobtrail.job("MoviePageJob") as job:``, ``async with``, or a decorator.

    On entry it is reported as executing, and on exit as completed. After an exception it is retryable (attempts are
    left), discarded (no attempt is left) or cancelled. The exception goes on unchanged. The default of ``worker`` is
    the function's qualified name for a decorator, and the headers' worker with headers. JobOptions lists the options.
    """
    if isinstance(worker, str):
        return Job(worker, options)
    return Job("", options)(worker)


def expect(worker: str, count: int) -> None:
    """Announce that the current job will spawn ``count`` children of a worker: ``expect("MoviePageJob", 108)``."""
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
