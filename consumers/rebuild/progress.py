"""Reports how far a rebuild is: on a terminal in one line that changes, else in a line of the log now and then."""

import sys
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)

_ON_TERMINAL_SECONDS = 1.0
_IN_LOG_SECONDS = 15.0


class ProgressReporter:
    """Prints or logs its numbers when a report is due, with the rate and an estimate of the time left."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._terminal = sys.stderr.isatty()
        self._every = _ON_TERMINAL_SECONDS if self._terminal else _IN_LOG_SECONDS
        self._due_at = 0.0
        self._started: tuple[float, int] | None = None
        self._open_line = False

    def is_due(self) -> bool:
        """Whether the next report is due."""
        return self._clock() >= self._due_at

    def phase(self, name: str, **fields: object) -> None:
        """Report that another phase begins."""
        self._end_line()
        self._due_at = 0.0
        self._started = None
        log.info(name, **fields)

    def progress(self, events: int, entries: int, all_entries: int) -> None:
        """Report that ``entries`` of the topic's ``all_entries`` are read, with ``events`` events."""
        now = self._clock()
        self._due_at = now + self._every
        if self._started is None or events < self._started[1]:
            self._started = (now, events)
        seconds = now - self._started[0]
        rate = (events - self._started[1]) / seconds if seconds > 0 else 0.0
        share = min(1.0, entries / all_entries) if all_entries else 1.0
        expected = round(events / share) if share else None
        left = (expected - events) / rate if expected and rate else None
        if self._terminal:
            about = f" of about {expected:,}" if expected else ""
            rest = f", {_duration(left)} left" if left is not None else ""
            self._line(f"read {events:,}{about} events ({share:.1%}), {rate:,.0f}/s{rest}")
        else:
            log.info(
                "reading",
                events=events,
                of_about=expected,
                share=round(share, 4),
                events_per_second=round(rate),
                seconds_left=None if left is None else round(left),
            )

    def close(self) -> None:
        """End the line that changes."""
        self._end_line()

    def _line(self, text: str) -> None:
        sys.stderr.write(f"\r\033[K{text}")
        sys.stderr.flush()
        self._open_line = True

    def _end_line(self) -> None:
        if self._open_line:
            sys.stderr.write("\n")
            sys.stderr.flush()
            self._open_line = False


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
