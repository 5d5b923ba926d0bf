"""The thread that waits for the broker: publishes batches as they come, and events from the spool between them.

All calls of Pulsar's client are made here, so that none keeps the sender's thread from writing the spool. While the
broker is away it tries again, with longer and longer pauses. A batch whose fate is not known is published again,
unless the spool has taken it meanwhile: delivery is at least once.
"""

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final

from jobtrail._config import Config
from jobtrail._contract import SCHEMA_TEXT
from jobtrail._counts import REPORT_INTERVAL_SECONDS, Counts
from jobtrail._segment import Message
from jobtrail._spool import Claimed, Segment, Spool

logger = logging.getLogger("jobtrail")

# How many events are published and acknowledged before the next batch.
BATCH_EVENTS: Final = 1_000
# How many batches wait while one is being published.
WAITING_BATCHES: Final = 2
BACKOFF_SECONDS: Final = 0.25
BACKOFF_MAX_SECONDS: Final = 15.0
# A call of Pulsar's client takes less than this (see `_broker.py`).
CALL_BOUND_SECONDS: Final = 20.0
# How often to look for segments that another process left behind.
SCAN_SECONDS: Final = 10.0


class Batch:
    """Encoded events, and their share of the queue's bounds until they are settled: sent or spooled."""

    def __init__(self, messages: list[Message], events: int, size: int, first: int) -> None:
        self.first = first
        self.messages = messages
        self.events = events
        self.size = size
        self.insurance: Segment | None = None


class Publisher:
    """A connection and its thread, started by the first batch."""

    def __init__(
        self,
        config: Config,
        counts: Counts,
        spool: Spool | None,
        settle: Callable[[Batch], None],
        wake: Callable[[], None],
    ) -> None:
        """Take two callbacks, which are called from the thread.

        ``settle`` gets each batch that the broker took and the spool did not. ``wake`` tells the sender to look again.
        """
        self._config = config
        self._counts = counts
        self._spool = spool
        self._settle = settle
        self._wake = wake
        self._turn = threading.Condition()
        self._waiting: deque[Batch] = deque()
        self._flying: Batch | None = None
        self._flying_since = 0.0
        self._backlog = False
        self._scan_at = 0.0
        self._spool_next = False
        self._claimed: Claimed | None = None
        self._thread: threading.Thread | None = None
        self._ends_at: float | None = None
        self._hastened = False
        self._connection: Any = None
        self._failures = 0
        self._retry_at = 0.0
        self._complained_at = 0.0

    # The sender's side: never waits for the broker.

    def offer(self, batch: Batch) -> None:
        """Take a batch for publishing. Raises RuntimeError when the thread cannot start."""
        with self._turn:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="jobtrail-publisher", daemon=True)
                thread.start()
                self._thread = thread
            self._waiting.append(batch)
            self._turn.notify_all()

    @property
    def has_room(self) -> bool:
        return len(self._waiting) < WAITING_BATCHES

    @property
    def is_idle(self) -> bool:
        """Whether all batches are settled."""
        with self._turn:
            return not self._waiting and (self._flying is None or self._flying.insurance is not None)

    @property
    def away(self) -> bool:
        """Whether the last publishing failed."""
        return self._failures > 0

    def unanswered_seconds(self) -> float:
        """Return how long the broker has not answered for the batch being published, 0 without one."""
        with self._turn:
            return time.monotonic() - self._flying_since if self._flying is not None else 0.0

    def take_back(self) -> list[Batch]:
        """Take back the batches that wait; `offer` puts them in again."""
        with self._turn:
            batches = list(self._waiting)
            self._waiting.clear()
            return batches

    def insure(self, spool: Spool) -> Batch | None:
        """Put the batch being published into the spool as well. Return it, to be settled, when that succeeded."""
        with self._turn:
            batch = self._flying
        if batch is None or batch.insurance is not None:
            return None
        segment = spool.insure(batch.messages)
        if segment is None:
            return None
        with self._turn:
            if self._flying is batch:
                batch.insurance = segment
                return batch
            if batch in self._waiting:  # its publishing failed meanwhile
                self._waiting.remove(batch)
                segment.close()
                self._backlog = True
                return batch
        segment.remove()  # the broker has it
        return None

    def spooled(self) -> None:
        """Note that the spool has events to send."""
        with self._turn:
            self._backlog = True
            self._turn.notify_all()

    def hasten(self) -> None:
        """Retry with short pauses, because the program is ending."""
        with self._turn:
            self._hastened = True
            self._retry_at = min(self._retry_at, time.monotonic() + BACKOFF_SECONDS)
            self._turn.notify_all()

    def end(self, deadline: float) -> None:
        """End the thread: at once if the broker is away, else when the spool is empty, or at ``deadline``."""
        with self._turn:
            self._ends_at = deadline
            self._turn.notify_all()

    def join(self, timeout: float) -> None:
        """Wait for the thread to end; a running call of Pulsar's client may delay it."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout)

    # The thread's side.

    def _run(self) -> None:
        try:
            while self._step():
                self._counts.report()
        except Exception:
            logger.exception("the publisher's thread failed; events go to the spool: please report this")
            self._failures += 1
        finally:
            if self._claimed is not None:
                self._claimed.close()
            self._give_up_connection()

    def _step(self) -> bool:
        """Publish one batch or a part of the spool, if any is due, else wait. Return False at the end."""
        with self._turn:
            now = time.monotonic()
            if self._ended(now):
                return False
            if self._retry_at > now:
                self._turn.wait(self._retry_at - now)
                return True
            from_spool = self._spool_is_due(now) and (self._spool_next or not self._waiting)
            self._spool_next = not from_spool
            if not from_spool:
                if not self._waiting:
                    self._turn.wait(self._idle_seconds(now))
                    return True
                self._flying = self._waiting.popleft()
                self._flying_since = now
        if from_spool:
            self._publish_spooled()
        else:
            self._publish_batch()
        return True

    def _ended(self, now: float) -> bool:
        if self._ends_at is None:
            return False
        return now >= self._ends_at or self.away or not (self._waiting or self._spool_is_due(now))

    def _spool_is_due(self, now: float) -> bool:
        if self._spool is None:
            return False
        return (
            self._claimed is not None
            or self._backlog
            or (self._connection is not None and now >= self._scan_at)
        )

    def _idle_seconds(self, now: float) -> float | None:
        return max(0.0, self._scan_at - now) if self._spool and self._connection else None

    def _publish_batch(self) -> None:
        batch = self._flying
        assert batch is not None
        done = self._try(batch.messages, SCHEMA_TEXT)
        with self._turn:
            self._flying = None
            insurance = batch.insurance
            if not done and insurance is None:
                self._waiting.appendleft(batch)
            if not done and insurance is not None:
                self._backlog = True
        if insurance is None:
            if done:
                self._counts.send(len(batch.messages))
                self._settle(batch)
        elif done:
            insurance.remove()
            self._counts.send_spooled(len(batch.messages))
        else:
            insurance.close()
        self._wake()

    def _publish_spooled(self) -> None:
        assert self._spool is not None
        if self._connection is None and not self._try([], SCHEMA_TEXT):
            return
        if self._claimed is None:
            self._spool.seal()
            self._claimed = self._spool.claim()
        claimed = self._claimed
        if claimed is None:
            with self._turn:
                self._backlog = False
                self._scan_at = time.monotonic() + SCAN_SECONDS
            return
        messages = claimed.messages[claimed.sent : claimed.sent + BATCH_EVENTS]
        if self._try(messages, claimed.schema):
            claimed.sent += len(messages)
            self._counts.send_from_spool(len(messages))
            if claimed.sent == len(claimed.messages):
                claimed.remove()
                self._claimed = None

    def _try(self, messages: list[Message], schema: str) -> bool:
        # Imported here: neither `import jobtrail` nor the first event must wait for pulsar.
        from jobtrail import _broker

        try:
            if self._connection is None:
                self._connection = _broker.connect(self._config)
            if messages:
                self._connection.publish(messages, schema)
        except Exception as error:
            if schema != SCHEMA_TEXT and _broker.is_refused_schema(error) and self._claimed is not None:
                assert self._spool is not None
                self._spool.leave(self._claimed, _broker.explain(error, self._config))
                self._claimed = None
                return False
            self._give_up_connection()
            self._complain(_broker.explain(error, self._config))
            self._wait_longer()
            return False
        self._recovered()
        return True

    def _wait_longer(self) -> None:
        delay = min(BACKOFF_MAX_SECONDS, BACKOFF_SECONDS * 2 ** min(self._failures, 10))
        self._failures += 1
        delay = BACKOFF_SECONDS if self._hastened else delay
        self._retry_at = time.monotonic() + delay * random.uniform(0.5, 1.0)  # noqa: S311  # spreads retries, guards nothing

    def _recovered(self) -> None:
        if self._failures:
            logger.info("publishing again after %d failures", self._failures)
            self._failures = 0

    def _complain(self, problem: str) -> None:
        now = time.monotonic()
        if self._failures == 0 or now - self._complained_at >= REPORT_INTERVAL_SECONDS:
            self._complained_at = now
            kept = (
                f"Events go to {self._spool.directory}"
                if self._spool is not None
                else "Events are kept in memory"
            )
            logger.warning("cannot publish to %s. Trying again. %s, as far as there is room.", problem, kept)

    def _give_up_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.abandon()
            except Exception as error:
                logger.debug("could not close the connection: %r", error)
