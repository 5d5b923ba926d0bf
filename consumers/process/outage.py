"""Logs an outage in few lines: its beginning, a change of its cause, a reminder each minute, and its end."""

import time
from collections.abc import Callable
from typing import Final

import structlog

log = structlog.get_logger(__name__)

_REMIND_EVERY_SECONDS: Final = 60.0


class OutageLog:
    """What is logged of one server that a service needs. A service tries again every few seconds, too often for a line each."""

    def __init__(self, away: str, back: str, then: str, clock: Callable[[], float] = time.monotonic) -> None:
        """``away`` and ``back`` name the events of the log. ``then``: what happens next."""
        self._away = away
        self._back = back
        self._then = then
        self._clock = clock
        self._began_at: float | None = None
        self._logged_at = 0.0
        self._error = ""

    def failed(self, error: str) -> None:
        """Note that a try failed."""
        now = self._clock()
        if self._began_at is None:
            self._began_at = now
        elif error == self._error and now - self._logged_at < _REMIND_EVERY_SECONDS:
            return
        self._error, self._logged_at = error, now
        log.warning(self._away, error=error, seconds=round(now - self._began_at, 1), then=self._then)

    def ended(self) -> None:
        """Note that the server answers. Without a failed try before, nothing is logged."""
        if self._began_at is not None:
            log.info(self._back, seconds=round(self._clock() - self._began_at, 1))
            self._began_at = None
