"""Counts events accepted, sent and dropped, with the reason. Drops are logged at once, then at most once a minute."""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

logger = logging.getLogger("jobtrail")

REPORT_INTERVAL_SECONDS: Final = 60.0

# Why an event is dropped, and what a person can do about it.
CURES: Final[dict[str, str]] = {
    "queue_full": "the broker is away or slow, and there is no spool; see spool, queue_max_events, queue_max_bytes",
    "spool_full": "the broker is away or slower than the jobs, and the spool is full; see spool_max_bytes",
    "spool_failed": "the broker is away or slower than the jobs, and the spool cannot be written; see spool_dir",
    "spool_damaged": "records of the spool were cut off by a kill, and so never accepted, or changed on the disk",
    "invalid": "a field cannot be used; the log line of the first one names it",
    "left_out": "something given to a job cannot be used; its events went on without it",
    "header": "a `jobtrail` header could not be read; the job was recorded without its parent",
    "unsent_at_exit": "the program ended before the broker or the spool took them; see shutdown_timeout_seconds",
    "shut_down": "events came after shutdown()",
    "internal": "a fault in the SDK: please report it with the log line of the first one",
}


@dataclass(frozen=True)
class Stats:
    """Counts since the process started.

    ``accepted`` = ``sent`` + ``spooled`` + ``queued`` + events dropped after acceptance.
    """

    accepted: int
    """Events taken into the queue."""
    sent: int
    """Events that the broker acknowledged."""
    queued: int
    """Events that wait or are being sent."""
    dropped: dict[str, int]
    """Events dropped, by reason. "header" and "left_out" count headers and options that could not be used: their
    events went on without them. "spool_damaged" counts records of the spool, written by any process."""
    spooled: int = 0
    """Events that the spool accepted instead of the broker; any process may send them."""
    sent_from_spool: int = 0
    """Events from the spool, of any process, that this process sent and the broker acknowledged."""
    spool_failures: int = 0
    """How often the spool could not be written: the disk was full, broken, or not writable."""


class Counts:
    """Thread-safe counters. Reentrant, because a signal handler may make an event while one is being counted."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        # Changed by the sender, under its own lock.
        self.accepted = 0
        self._sent = 0
        self._spooled = 0
        self._sent_from_spool = 0
        self._spool_failures = 0
        self._dropped: dict[str, int] = {}
        self._details: dict[str, str] = {}
        self._reported: dict[str, int] = {}
        self._reported_at: float | None = None

    def send(self, count: int) -> None:
        with self._lock:
            self._sent += count

    def spool(self, count: int) -> None:
        """Count events that the spool accepted."""
        with self._lock:
            self._spooled += count

    def send_spooled(self, count: int) -> None:
        """Count as sent the events that the spool accepted as a precaution, and that the broker then took."""
        with self._lock:
            self._spooled -= count
            self._sent += count

    def send_from_spool(self, count: int) -> None:
        with self._lock:
            self._sent_from_spool += count

    def spool_failed(self) -> None:
        with self._lock:
            self._spool_failures += 1

    def drop(self, reason: str, count: int = 1, detail: str = "") -> None:
        """Count dropped events; the latest ``detail`` goes into the log line."""
        with self._lock:
            self._dropped[reason] = self._dropped.get(reason, 0) + count
            if detail:
                self._details[reason] = detail

    def stats(self, queued: int) -> Stats:
        with self._lock:
            return Stats(
                self.accepted,
                self._sent,
                queued,
                dict(self._dropped),
                self._spooled,
                self._sent_from_spool,
                self._spool_failures,
            )

    def report(self) -> bool:
        """Log the drops since the last report, at most once a minute; return whether a line was logged."""
        with self._lock:
            now = self._clock()
            new = {
                reason: count - self._reported.get(reason, 0)
                for reason, count in self._dropped.items()
                if count > self._reported.get(reason, 0)
            }
            due = self._reported_at is None or now - self._reported_at >= REPORT_INTERVAL_SECONDS
            if not new or not due:
                return False
            self._reported_at = now
            self._reported = dict(self._dropped)
            details, self._details = self._details, {}
        for reason, count in sorted(new.items()):
            detail = f" (the latest: {details[reason]})" if reason in details else ""
            logger.warning("dropped %d (%s): %s%s", count, reason, CURES.get(reason, ""), detail)
        return True
