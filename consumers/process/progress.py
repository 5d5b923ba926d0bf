"""Logs one line a minute with what a service did."""

import time
from collections import Counter
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_SAY_EVERY_SECONDS = 60.0


class MinuteReport:
    """Adds up the counts of batches and logs them once a minute. ``total`` counts since the start of the service."""

    def __init__(self, line: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._line = line
        self._clock = clock
        self.total: Counter[str] = Counter()
        self._start()

    def _start(self) -> None:
        self._since = self._clock()
        self._batches = 0
        self._counts: Counter[str] = Counter()

    def add(self, **counts: int) -> None:
        """Add the counts of one batch."""
        self._batches += 1
        self._counts.update(counts)
        self.total.update(counts)

    def log_when_due(self) -> None:
        """Log the minute's line, if a minute has passed and had a batch."""
        seconds = self._clock() - self._since
        if seconds < _SAY_EVERY_SECONDS:
            return
        if self._batches:
            log.info(self._line, seconds=round(seconds), batches=self._batches, **self._counts)
        self._start()
