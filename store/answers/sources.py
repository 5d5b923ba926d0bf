"""How well each source does: success rates of attempts and of jobs, from the hourly sums.

A job that failed twice and then completed has three attempts, two failures and one success, and is *recovered*.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import psycopg

from store.answers.reading import read, snapshot
from store.queries import queries

_QUERIES = queries("answers_sources")


class Source(NamedTuple):
    """Ends of attempts of one source by outcome; ``recovered``: jobs that failed, and completed in a later attempt."""

    namespace: str
    source: str
    completed: int
    retryable: int
    discarded: int
    cancelled: int
    recovered: int

    @property
    def attempts_rate(self) -> float | None:
        """completed / (completed + retryable + discarded); None where there is nothing to divide."""
        ended = self.completed + self.retryable + self.discarded
        return self.completed / ended if ended else None

    @property
    def jobs_rate(self) -> float | None:
        """completed / (completed + discarded): of the jobs that came to an end."""
        ended = self.completed + self.discarded
        return self.completed / ended if ended else None


@dataclass(frozen=True)
class Sources:
    """The sources with an end since ``since``, a whole hour of UTC."""

    since: datetime
    sources: list[Source]


def get_sources(connection: psycopg.Connection, since: datetime, namespace: str | None = None) -> Sources:
    """Success rates per source since the hour that ``since`` lies in: the sums are hourly."""
    hour = since.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    with snapshot(connection):
        return Sources(hour, read(connection, Source, _QUERIES["sources"], since=hour, namespace=namespace))
