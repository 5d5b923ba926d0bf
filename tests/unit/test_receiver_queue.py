"""How many messages are fetched ahead: fewer if they are large, so that they fit into memory."""

from types import SimpleNamespace
from typing import cast

from broker.client import Message
from consumers.receiving.receiver_queue import LEAST_MESSAGES, ReceiverQueue

MIB = 1024 * 1024


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def batch(size: int, messages: int = 1_000) -> list[Message]:
    """Return messages that only have a length."""
    message = SimpleNamespace(length=lambda: size)
    return [cast(Message, message)] * messages


def test_usual_events_are_fetched_ahead_up_to_the_setting() -> None:
    queue = ReceiverQueue(40_000, 128 * MIB)
    assert not queue.is_outgrown(batch(300))
    assert not queue.is_outgrown(batch(3_000)), "less than half too many is no reason to subscribe again"
    assert queue.messages == 40_000


def test_large_events_are_fetched_ahead_as_far_as_they_fit() -> None:
    queue = ReceiverQueue(40_000, 128 * MIB)
    assert queue.is_outgrown(batch(100_000))
    assert queue.messages == 128 * MIB // 100_400
    assert not queue.is_outgrown(batch(100_000))
    assert queue.is_outgrown(batch(5 * MIB, 6))
    assert queue.messages == LEAST_MESSAGES


def test_after_a_minute_of_small_events_the_queue_grows_again() -> None:
    clock = Clock()
    queue = ReceiverQueue(40_000, 128 * MIB, clock)
    assert queue.is_outgrown(batch(100_000))
    for second in range(60):
        clock.now = float(second)
        assert not queue.is_outgrown(batch(300))
    assert not queue.is_outgrown(batch(100_000)), "a large one restarts the minute"
    clock.now = 61.0
    assert not queue.is_outgrown(batch(300))
    clock.now = 121.0
    assert queue.is_outgrown(batch(300, 1))
    assert queue.messages == 40_000
