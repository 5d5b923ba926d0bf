"""Computes success rates by source, of attempts and of final outcomes, from the hourly aggregates.

A job that failed twice and then completed has three attempts, two failures and one success, and has *recovered*.
A *final outcome* is an end without a retry: completed or discarded. Most jobs have one, but an id that is used again, or a
job that is run again by hand, has several. So these are not called jobs.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg

from store.answers.names import require_namespace
from store.answers.reading import read, snapshot
from store.hours import start_of_hour
from store.queries import queries

_QUERIES = queries("answers_sources")


class Source(NamedTuple):
    """Ends of attempts of one source by outcome.

    ``recovered`` counts jobs: those that failed, completed in a later attempt, and have not failed again.
    """

    namespace: str
    source: str
    completed: int
    retryable: int
    discarded: int
    cancelled: int
    recovered: int

    @property
    def attempts(self) -> int:
        """All attempts that ended, except cancelled ones."""
        return self.completed + self.retryable + self.discarded

    @property
    def final_outcomes(self) -> int:
        """Ends without a retry: completed or discarded."""
        return self.completed + self.discarded

    @property
    def attempts_rate(self) -> float | None:
        """completed / attempts; None if no attempt ended."""
        return self.completed / self.attempts if self.attempts else None

    @property
    def final_rate(self) -> float | None:
        """completed / final outcomes; None if there is none."""
        return self.completed / self.final_outcomes if self.final_outcomes else None


@dataclass(frozen=True)
class Sources:
    """The sources with an attempt that ended since ``since``, a whole hour of UTC."""

    since: datetime
    sources: list[Source]


def get_sources(connection: psycopg.Connection, since: datetime, namespace: str | None = None) -> Sources:
    """Return success rates by source from the hour that has ``since``: the aggregates are hourly.

    Raises NotFoundError when nothing is found because the namespace does not exist.
    """
    hour = start_of_hour(since)
    with snapshot(connection):
        found = read(connection, Source, _QUERIES["sources"], since=hour, namespace=namespace)
        if not found:
            require_namespace(connection, namespace)
    return Sources(hour, found)
