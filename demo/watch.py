"""Reads the demo's progress from the running services and the tables, repeatedly while the fleet works."""

import contextlib
import re
import time
import urllib.request
from collections.abc import Callable, Iterator

import psycopg

from demo.errors import DemoError, Late
from demo.stack import STUCK_FLOOR_SECONDS, Stack
from schemas.errors import NotFoundError
from servers import processes
from settings.database import DatabaseSettings
from store.answers.lineage import get_pipeline_stats
from store.answers.stages import Stage
from store.answers.verdicts import StuckRule
from store.connection import connect

_POLL_SECONDS = 0.1
_SAMPLE = re.compile(r"^(\w+)(?:\{.*\})? ([0-9.e+]+)$", re.MULTILINE)


class Watch:
    """The current counts and stages."""

    def __init__(self, running: Stack, connection: psycopg.Connection) -> None:
        self._running = running
        self._connection = connection

    def stages(self, namespace: str, root: str) -> list[Stage]:
        """Return the stages of a run; an empty list before its first event is stored."""
        rule = StuckRule(floor_seconds=float(STUCK_FLOOR_SECONDS))
        try:
            return get_pipeline_stats(self._connection, namespace, root, rule=rule).stages
        except NotFoundError:
            return []

    def events_stored(self) -> int:
        """Return how many events the aggregator committed."""
        return _sum(self._running.aggregator_url, "jobtrail_aggregator_events_total")

    def attempts_counted(self) -> int:
        """Return how many ended attempts the metrics consumer counted."""
        return _sum(self._running.metrics_url, "jobtrail_attempts_total")


@contextlib.contextmanager
def watch(running: Stack) -> Iterator[Watch]:
    """Yield a watch with its own connection to the database."""
    settings = DatabaseSettings.load(database_url=running.settings["JOBTRAIL_DATABASE_URL"])
    with contextlib.closing(connect(settings, "jobtrail demo", autocommit=True)) as connection:
        yield Watch(running, connection)


def wait_until(
    holds: Callable[[], bool], what: str, show: Callable[[], None], timeout_seconds: float
) -> None:
    """Wait until the condition holds, showing the progress. Raises Late when time is up."""
    deadline = time.monotonic() + timeout_seconds
    while not holds():
        check_processes()
        if time.monotonic() > deadline:
            raise Late(f"not within {timeout_seconds:g} s: {what}")
        show()
        time.sleep(_POLL_SECONDS)


def check_processes() -> None:
    """Raise DemoError, with the end of the log, when a process of the demo has ended unexpectedly."""
    ended = processes.first_ended()
    if ended is not None:
        raise DemoError(f"{ended.name} ended with status {ended.process.returncode}.\n{ended.end_of_log()}")


def page(url: str) -> str:
    """Return the text of a service's /metrics."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:  # noqa: S310  # our own service
        text: str = answer.read().decode()
    return text


def _sum(url: str, metric: str) -> int:
    return round(sum(float(value) for name, value in _SAMPLE.findall(page(url)) if name == metric))
