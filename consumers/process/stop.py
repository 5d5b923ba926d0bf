"""Stopping a service: SIGTERM or SIGINT requests it, and ends every wait early."""

import random
import signal
import threading
import types


class Stop:
    """A request to stop that any thread can check and wait for."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Request the stop. Repetitions change nothing."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Whether a stop was requested."""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for this long, or until a stop is requested. Return whether it was."""
        return self._event.wait(seconds)


def stop_on_signals() -> Stop:
    """Return a Stop that SIGTERM and SIGINT request. A second SIGINT ends the process as usual.

    The handler only sets the request: it may run in the middle of a log line, so it must not acquire the log's lock.
    """
    stop = Stop()

    def on_signal(_number: int, _frame: types.FrameType | None) -> None:
        stop.request()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


class Pauses:
    """Pauses between attempts: doubled each time, bounded, and randomised so that replicas do not act at the same time."""

    def __init__(self, longest_seconds: float, first_seconds: float = 0.1) -> None:
        self._longest = longest_seconds
        self._next = min(first_seconds, longest_seconds)

    def next_seconds(self) -> float:
        """Return the next pause, in seconds."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now * random.uniform(0.5, 1)  # noqa: S311  # no secret
