"""The bounded queue between the jobs and the broker, and the thread that empties it.

A job only appends to a list, under a lock that is held for no longer than that. The thread sleeps while there is
nothing, gathers for `linger_seconds`, encodes, publishes, and counts as sent what the broker acknowledged. When the
broker is away it keeps what it holds and tries again, waiting longer each time; the queue fills up to its bounds, and
what does not fit is dropped and counted. A batch of which nothing is known is published again: at least once.
"""

import logging
import queue
import random
import threading
import time
from typing import Any, Final

from jobtrail._config import Config
from jobtrail._counts import REPORT_INTERVAL_SECONDS, Counts
from jobtrail._text import describe

logger = logging.getLogger("jobtrail")

# One batch: so many events are encoded, published and acknowledged before the next.
BATCH_EVENTS: Final = 1_000
BACKOFF_SECONDS: Final = 0.25
BACKOFF_MAX_SECONDS: Final = 15.0
# The thread's calls of Pulsar's client are bounded by less than this (see `_broker.py`).
CALL_BOUND_SECONDS: Final = 20.0
# What an event takes beside its long texts, for the bound in bytes.
EVENT_BYTES: Final = 600

# An event's fields and their estimated size. The fields are encoded later, in the sender's thread: what submits them
# no longer changes them.
_Item = tuple[dict[str, Any], int]


class Sender:
    """A queue and its thread, started by the first event. Belongs to one process: a fork's child makes its own."""

    def __init__(self, config: Config, counts: Counts) -> None:
        self._config = config
        self._counts = counts
        # Reentrant: a signal handler may make an event in the middle of one.
        self._lock = threading.RLock()
        self._items: list[_Item] = []
        self._held_events = 0
        self._held_bytes = 0
        self._accepted = 0
        self._settled = 0
        self._idle = True
        self._closing_at: float | None = None
        self._thread: threading.Thread | None = None
        # SimpleQueue, because its put() may be called from anywhere, signal handlers and finalizers included.
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._hurry = threading.Event()
        self._progress = threading.Condition()
        self._connection: Any = None
        self._failures = 0
        self._complained_at = 0.0

    # The jobs' side: never waits for the broker.

    def submit(self, event: dict[str, Any], size: int) -> bool:
        """Take an event for sending. False when there is no room for it, or no longer a sender; that is counted."""
        with self._lock:
            if self._closing_at is not None:
                self._counts.drop("shut_down")
                return False
            if (
                self._held_events >= self._config.queue_max_events
                or self._held_bytes + size > self._config.queue_max_bytes
            ):
                self._counts.drop("queue_full")
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
        """Wait until every event taken before the call was sent or dropped. False when that took too long."""
        target = self._accepted
        self._hurry.set()
        with self._progress:
            return self._progress.wait_for(lambda: self._settled >= target, timeout)

    def shutdown(self, timeout: float) -> bool:
        """Send what is held within ``timeout`` seconds, then end the thread. False when something was left.

        Returns only when the thread has ended, which a call of Pulsar's client under way may delay (at most
        CALL_BOUND_SECONDS): a process that ends in the middle of one is aborted by it.
        """
        with self._lock:
            self._closing_at = time.monotonic() + timeout
            thread = self._thread
        self._hurry.set()
        self._bell.put(None)
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout + CALL_BOUND_SECONDS)
        return self._held_events == 0

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
                self._ring_or_sleep(REPORT_INTERVAL_SECONDS)
                while items := self._gather():
                    messages = self._encode(items)
                    if messages and not self._deliver(messages):
                        return
                    self._settle(items, sent=len(messages))
                self._counts.report()
                if self._closing_at is not None and not self._items:
                    return
        except Exception:
            logger.exception("the sender's thread failed; events are no longer sent: please report this")
            with self._lock:
                self._closing_at = self._closing_at or time.monotonic()
        finally:
            self._end()

    def _gather(self) -> list[_Item]:
        # Also between two batches: what came while one was published is seldom worth a batch of its own.
        if self._closing_at is None and len(self._items) < BATCH_EVENTS:
            self._hurry.wait(self._config.linger_seconds)
        with self._lock:
            items = self._items[:BATCH_EVENTS]
            del self._items[:BATCH_EVENTS]
            if not items:
                self._idle = True
                self._hurry.clear()
        return items

    def _encode(self, items: list[_Item]) -> list[tuple[str, bytes]]:
        # Imported here: the first event must not wait for fastavro, nor `import jobtrail`.
        from jobtrail._encode import encode, left_out

        messages = []
        for event, _ in items:
            try:
                payload = encode(event)
                missing = left_out(event)
                if missing:
                    self._counts.drop("left_out", 1, f"{missing}: job {event['job_id']!r:.100}")
                messages.append((str(event["job_id"]), payload))
            except Exception as error:
                self._counts.drop("invalid", 1, describe(error))
        return messages

    def _deliver(self, messages: list[tuple[str, bytes]]) -> bool:
        """Publish until the broker has them. False when the program ends before."""
        from jobtrail import _broker

        while True:
            try:
                if self._connection is None:
                    self._connection = _broker.connect(self._config)
                self._connection.publish(messages)
            except Exception as error:
                self._give_up_connection()
                self._complain(_broker.explain(error, self._config))
            else:
                self._recovered()
                self._counts.send(len(messages))
                return True
            self._counts.report()
            if not self._wait_to_retry():
                return False

    def _wait_to_retry(self) -> bool:
        delay = min(BACKOFF_MAX_SECONDS, BACKOFF_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        deadline = time.monotonic() + delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, guards nothing
        while (now := time.monotonic()) < deadline:
            if self._closing_at is not None:
                # Only so often as the time left allows.
                left = self._closing_at - now
                if left <= 0:
                    return False
                time.sleep(min(left, BACKOFF_SECONDS))
                return self._closing_at > time.monotonic()
            self._ring_or_sleep(deadline - now)
        return self._closing_at is None or self._closing_at > time.monotonic()

    def _ring_or_sleep(self, seconds: float) -> None:
        try:
            self._bell.get(timeout=seconds)
        except queue.Empty:
            return

    def _settle(self, items: list[_Item], *, sent: int) -> None:
        with self._lock:
            self._held_events -= len(items)
            self._held_bytes -= sum(size for _, size in items)
        with self._progress:
            self._settled += len(items)
            self._progress.notify_all()

    def _complain(self, problem: str) -> None:
        now = time.monotonic()
        if self._failures == 0 or now - self._complained_at >= REPORT_INTERVAL_SECONDS:
            self._complained_at = now
            logger.warning(
                "cannot publish to %s. Trying again; %d events are kept, at most %d.",
                problem,
                self._held_events,
                self._config.queue_max_events,
            )

    def _recovered(self) -> None:
        if self._failures:
            logger.info("publishing again after %d failures", self._failures)
            self._failures = 0

    def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.abandon()
            except Exception as error:
                logger.debug("could not close the connection: %r", error)

    def _end(self) -> None:
        with self._lock:
            left = self._held_events
            self._items.clear()
            self._held_bytes = 0
        if left:
            self._counts.drop("unsent_at_exit", left)
            self._counts.report()
        self._give_up_connection()
        with self._progress:
            self._settled = self._accepted
            self._progress.notify_all()
