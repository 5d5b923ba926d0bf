"""The bounded queue between the jobs and the broker, and the thread that empties it.

A job only appends to a list, under a lock that is held just for that. The thread sleeps while the list is empty. It
gathers events for `linger_seconds`, encodes them, and hands batches to the publisher (`_publisher.py`). Batches that
the broker does not take, because it is away or slower than the jobs, go to the spool (`_spool.py`). Without a spool,
or when that takes nothing, the queue fills up to its bounds; events that do not fit are dropped and counted.
"""

import logging
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any, Final

from jobtrail import _locked
from jobtrail._config import Config, state_directory
from jobtrail._counts import REPORT_INTERVAL_SECONDS, Counts
from jobtrail._publisher import BATCH_EVENTS, CALL_BOUND_SECONDS, Batch, Publisher
from jobtrail._redaction import shown_url
from jobtrail._segment import Destination, Message
from jobtrail._spool import Spool
from jobtrail._text import describe

logger = logging.getLogger("jobtrail")

# A queue this full goes to the spool although the broker answers, because the broker is slower than the jobs.
CROWDED_SHARE: Final = 0.5
# An event's estimated size without its long texts, for the bound in bytes.
EVENT_BYTES: Final = 600

# An event's fields and their estimated size. The sender's thread encodes the fields later: the caller must not change
# them after submitting.
_Item = tuple[dict[str, Any], int]


class Sender:
    """A queue and its threads, started by the first event. It belongs to one process; a fork's child makes its own."""

    def __init__(self, config: Config, counts: Counts) -> None:
        self._config = config
        self._counts = counts
        # Reentrant: a signal handler may make an event while another is being submitted.
        self._lock = threading.RLock()
        self._items: list[_Item] = []
        self._held_events = 0
        self._held_bytes = 0
        self._accepted = 0
        # Events are numbered as they are accepted. These are how many were gathered, and the first number of each
        # unsettled batch.
        self._gathered = 0
        self._unsettled: set[int] = set()
        self._unsent = 0
        self._idle = True
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None
        # SimpleQueue, because its put() may be called from anywhere, also from signal handlers and finalizers.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._spool = _spool_of(config, counts)
        self._publisher = Publisher(config, counts, self._spool, self._sent, self._ring)

    # The jobs' side: never waits for the broker.

    def submit(self, event: dict[str, Any], size: int) -> bool:
        """Take an event for sending. Return False, and count it, if the queue is full or the sender has shut down."""
        with self._lock:
            if self._closing_at is not None:
                self._counts.drop("shut_down")
                return False
            if (
                self._held_events >= self._config.queue_max_events
                or self._held_bytes + size > self._config.queue_max_bytes
            ):
                trouble = self._spool.trouble if self._spool is not None else ""
                self._counts.drop(f"spool_{trouble}" if trouble else "queue_full")
                return False
            self._items.append((event, size))
            self._held_events += 1
            self._held_bytes += size
            self._accepted += 1
            self._counts.accepted += 1
            if not self._idle:
                return True
            self._idle = False
            if self._thread is None:
                self._start()
        self._bell.put(None)
        return True

    @property
    def queued(self) -> int:
        return self._held_events

    def flush(self, timeout: float) -> bool:
        """Wait until every event taken before the call is sent, spooled or dropped; return False after ``timeout``."""
        target = self._accepted
        self._hurry.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._first_unsettled() >= target, timeout)

    def _first_unsettled(self) -> int:
        return min(self._unsettled, default=self._gathered)

    def shutdown(self, timeout: float) -> bool:
        """Send or spool all held events within ``timeout`` seconds, then end the threads. Return whether none was
        left.

        Returns only when the thread has ended. A running call of Pulsar's client may delay that by up to
        CALL_BOUND_SECONDS: the client aborts a process that ends in the middle of a call.
        """
        with self._lock:
            deadline = time.monotonic() + timeout
            self._closing_at = deadline
            thread = self._thread
        self._hurry.set()
        self._publisher.hasten()
        self._ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + CALL_BOUND_SECONDS)
            self._publisher.join(max(0.0, deadline - time.monotonic()) + CALL_BOUND_SECONDS)
        return self._unsent == 0 and self._held_events == 0

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="jobtrail-sender", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the interpreter is ending, or the system has no threads left
            self._thread = None
            self._idle = True
            self._counts.drop("internal", 0, f"the sender's thread cannot start: {error}")

    # The thread's side.

    def _run(self) -> None:
        try:
            while True:
                self._ring_or_sleep(self._pause_seconds())
                while self._step():
                    continue
                self._counts.report()
                if self._closing_at is not None and self._ends():
                    return
        except Exception:
            logger.exception("the sender's thread failed; events are no longer sent: please report this")
            with self._lock:
                self._closing_at = self._closing_at or time.monotonic()
        finally:
            self._end()

    def _step(self) -> bool:
        """Encode one batch, if there is room, and spool what is due. Return whether there is more to do now."""
        items: list[_Item] = []
        if self._publisher.has_room:
            items = self._gather()
        if items:
            with self._progress:
                first, self._gathered = self._gathered, self._gathered + len(items)
                self._unsettled.add(first)
            batch = Batch(self._encode(items), len(items), sum(size for _, size in items), first)
            if batch.messages:
                self._publisher.offer(batch)
            else:
                self._settle(batch)
        self._secure()
        return bool(items) or (self._publisher.has_room and bool(self._items))

    def _gather(self) -> list[_Item]:
        # Also between two batches: the few events that came while one was published are seldom worth a batch.
        if self._closing_at is None and len(self._items) < BATCH_EVENTS:
            self._hurry.wait(self._config.linger_seconds)
        with self._lock:
            items = self._items[:BATCH_EVENTS]
            del self._items[:BATCH_EVENTS]
            if not items:
                self._idle = True
                self._hurry.clear()
        return items

    def _encode(self, items: list[_Item]) -> list[Message]:
        # Imported here: neither the first event nor `import jobtrail` must wait until its tables are built.
        from jobtrail._encode import encode, left_out

        messages = []
        for event, _ in items:
            try:
                message = encode(event, self._config.redactor)
                missing = left_out(event)
                if missing:
                    self._counts.drop("left_out", 1, f"{missing}: job {event['job_id']!r:.100}")
                messages.append(message)
            except Exception as error:
                self._counts.drop("invalid", 1, describe(error))
        return messages

    def _secure(self) -> None:
        """Put into the spool the batches that the broker does not take in time."""
        if self._spool is None:
            return
        unanswered = self._publisher.unanswered_seconds() >= self._config.spool_after_seconds
        closing = self._closing_at is not None and time.monotonic() >= self._closing_at
        if not (unanswered or closing or self._publisher.away or self._is_crowded):
            return
        if unanswered or closing:
            insured = self._publisher.insure(self._spool)
            if insured is not None:
                self._spooled(insured)
        waiting = self._publisher.take_back()
        for batch in waiting:
            if self._spool.append(batch.messages):
                self._publisher.spooled()
                self._spooled(batch)
            else:
                self._publisher.offer(batch)

    @property
    def _is_crowded(self) -> bool:
        return (
            self._held_events >= CROWDED_SHARE * self._config.queue_max_events
            or self._held_bytes >= CROWDED_SHARE * self._config.queue_max_bytes
        )

    def _ends(self) -> bool:
        """Return whether no event is held, or no time is left."""
        assert self._closing_at is not None
        return (self._publisher.is_idle and not self._items) or time.monotonic() >= self._closing_at

    def _pause_seconds(self) -> float:
        """Return how long to sleep unless the bell rings."""
        if self._publisher.is_idle and self._closing_at is None:
            return REPORT_INTERVAL_SECONDS
        pause = max(0.05, self._config.spool_after_seconds - self._publisher.unanswered_seconds())
        pause = min(pause, REPORT_INTERVAL_SECONDS)
        if self._closing_at is not None:
            pause = min(pause, max(0.0, self._closing_at - time.monotonic()))
        return pause

    def _ring(self) -> None:
        # One ring waits until it is heard: under lasting load the thread may not sleep, and so not hear it, for hours.
        if self._bell.empty():
            self._bell.put(None)

    def _ring_or_sleep(self, seconds: float) -> None:
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return

    def _sent(self, batch: Batch) -> None:
        """Settle a batch that the broker has. Called in the publisher's thread."""
        self._settle(batch)

    def _spooled(self, batch: Batch) -> None:
        self._counts.spool(len(batch.messages))
        self._settle(batch)

    def _settle(self, batch: Batch) -> None:
        with self._lock:
            self._held_events -= batch.events
            self._held_bytes -= batch.size
        with self._progress:
            self._unsettled.discard(batch.first)
            self._progress.notify_all()

    def _end(self) -> None:
        self._secure_rest()
        with self._lock:
            left, self._held_events, self._held_bytes = self._held_events, 0, 0
            self._items.clear()
            self._unsent = left
        if left:
            self._counts.drop("unsent_at_exit", left)
            self._counts.report()
        if self._spool is not None:
            self._spool.seal()
        assert self._closing_at is not None
        self._publisher.end(self._closing_at)
        with self._progress:
            self._gathered = self._accepted
            self._unsettled.clear()
            self._progress.notify_all()

    def _secure_rest(self) -> None:
        """Put everything into the spool, because no time is left."""
        if self._spool is None:
            return
        try:
            while True:
                self._secure()
                if not self._publisher.has_room or not self._step():
                    return
        except Exception as error:
            self._counts.drop("internal", 0, describe(error))


def _spool_of(config: Config, counts: Counts) -> Spool | None:
    if not config.spool:
        return None
    if not _locked.AVAILABLE:
        if config.spool_dir:
            logger.warning("no spool: this system has no flock; events wait in memory only")
        return None
    try:
        directory = Path(config.spool_dir).expanduser() if config.spool_dir else state_directory(os.environ)
    except RuntimeError as error:
        logger.warning("no spool: %s; name a directory (spool_dir)", error)
        return None
    destination = Destination(shown_url(config.pulsar_url), config.topic)
    return Spool(directory, config.spool_max_bytes, destination, counts)
