"""Runs retention beside an aggregator's batches: a thread checks once an hour whether anything is expired.

It has its own session, and nearly always waits for Postgres or pauses. If there are several replicas, the first to check does
the work. A failure is harmless: the next run, of this process or another, continues.
"""

import threading
from collections.abc import Callable
from datetime import date
from types import TracebackType
from typing import Self

import psycopg
import structlog

from consumers.process.barriers import reached
from schemas.errors import JobtrailError
from settings.aggregator import AggregatorSettings
from store.connection import connect
from store.migrate import check_version
from store.retention.run import Done, retain
from store.retention.session import Pace, RetentionStoppedError

log = structlog.get_logger(__name__)

_FIRST_AFTER_SECONDS = 60.0
_EVERY_SECONDS = 60.0 * 60
_END_SECONDS = 5.0


class RetentionUpkeep:
    """Runs within a ``with`` block, unless the settings keep everything or leave retention to another process."""

    def __init__(
        self,
        settings: AggregatorSettings,
        on_horizon: Callable[[date | None], None] = lambda _horizon: None,
        first_after_seconds: float = _FIRST_AFTER_SECONDS,
    ) -> None:
        """``on_horizon`` is called with the horizon after each check."""
        self._settings = settings
        self._on_horizon = on_horizon
        self._first_after = first_after_seconds
        self._ending = threading.Event()
        # A daemon thread, because ending the process in the middle of a transaction changes nothing.
        self._thread = threading.Thread(target=self._check_every_hour, name="retention", daemon=True)

    def __enter__(self) -> Self:
        if self._settings.retention_days and self._settings.retention_in_aggregator:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(_END_SECONDS)

    def _check_every_hour(self) -> None:
        pause = self._first_after
        while not self._ending.wait(pause):
            pause = _EVERY_SECONDS
            done = Done()
            try:
                self._check(done)
            except RetentionStoppedError:
                log.info("retention_stopped", **_counts(done), then="continues after the next start")
                return
            except (JobtrailError, psycopg.Error) as error:
                log.warning(
                    "retention_failed",
                    error=" ".join(str(error).split()),
                    **_counts(done),
                    then="continues in an hour; the aggregates are correct meanwhile",
                )

    def _check(self, done: Done) -> None:
        settings = self._settings
        with connect(settings, "jobtrail retention", autocommit=True) as connection:
            check_version(connection)  # a later release may keep what this one would delete
            retain(
                connection,
                settings.retention_days,
                settings.retention_open_days,
                pace=Pace(settings.retention_share, self._ending.wait),
                batch_rows=settings.retention_batch_rows,
                reached=reached,
                done=done,
            )
        self._on_horizon(done.horizon)
        counts = _counts(done)
        moved = (done.horizon, done.open_horizon) != (done.horizon_before, done.open_horizon_before)
        if moved or any(counts.values()):
            log.info(
                "retention_done", horizon=str(done.horizon), open_horizon=str(done.open_horizon), **counts
            )


def _counts(done: Done) -> dict[str, int]:
    return {
        "days": len(done.attempts.partitions),
        "attempts": done.attempts.rows,
        "jobs": done.rows.jobs,
        "edges": done.rows.edges,
        "dead_letters": done.rows.dead_letters,
    }
