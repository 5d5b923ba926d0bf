"""Limits how many messages Pulsar's client fetches ahead. The client counts messages, not bytes, so this weighs them.

40,000 events of the usual size take some 20 MB; with 5 MB each they would take 200 GB. The mean size of a few messages of
each batch shows how many fit into the bytes allowed. If far fewer fit than the queue has, the service subscribes again with a
shorter queue: the library drops what it had fetched, and the broker delivers it again. When messages have been small for a
while, the queue grows again.
"""

import time
from collections.abc import Callable, Sequence

import structlog

from broker.client import Message
from broker.private import payload_length

log = structlog.get_logger(__name__)

LEAST_MESSAGES = 64
"""The least number of messages: each partition needs a few."""

_WEIGHED = 64
_OVERHEAD_BYTES = 400
"""Approximate bytes that the library keeps for a message besides its payload."""
_SMALL_AGAIN_SECONDS = 60.0


class ReceiverQueue:
    """Decides how many messages to fetch ahead with the next subscription."""

    def __init__(
        self, most_messages: int, most_bytes: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most_messages = most_messages
        self._most_bytes = most_bytes
        self._clock = clock
        self._small_since: float | None = None
        self.messages = most_messages

    def is_outgrown(self, batch: Sequence[Message]) -> bool:
        """Weigh a batch that is not empty. Return True if the service should subscribe again, with ``messages``."""
        step = max(1, len(batch) // _WEIGHED)
        weighed = [payload_length(message) for message in batch[::step]]
        mean = sum(weighed) // len(weighed) + _OVERHEAD_BYTES
        fitting = min(max(self._most_bytes // mean, LEAST_MESSAGES), self._most_messages)
        if fitting < self.messages // 2:
            return self._changed(fitting, mean)
        if fitting < self.messages * 2:
            self._small_since = None
            return False
        now = self._clock()
        if self._small_since is None:
            self._small_since = now
        return now - self._small_since >= _SMALL_AGAIN_SECONDS and self._changed(fitting, mean)

    def _changed(self, fitting: int, mean: int) -> bool:
        log.info(
            "receiver_queue_resized",
            messages=fitting,
            before=self.messages,
            mean_message_bytes=mean,
            then="subscribes again; what was fetched ahead is delivered again",
        )
        self.messages = fitting
        self._small_since = None
        return True
