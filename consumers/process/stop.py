"""How a service is told to stop: SIGTERM or SIGINT once is a request, and every wait ends early for it."""

import random
import signal
import threading
import types


class Stop:
    """A request to stop that any thread can look at and wait for."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def request(self) -> None:
        """Ask for the stop; asking again changes nothing."""
        self._event.set()

    @property
    def requested(self) -> bool:
        """Has somebody asked?"""
        return self._event.is_set()

    def wait(self, seconds: float) -> bool:
        """Sleep for so long, or until the stop is asked for; says whether it was."""
        return self._event.wait(seconds)


def stop_on_signals() -> Stop:
    """A Stop that SIGTERM and SIGINT ask for. A second SIGINT ends the process as usual.

    The handler does nothing but ask: it may run in the middle of a line of the log, whose lock it must not want.
    """
    stop = Stop()

    def on_signal(_number: int, _frame: types.FrameType | None) -> None:
        stop.request()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


class Pauses:
    """How long to wait before the next attempt: doubled each time, bounded, and spread so that replicas come apart."""

    def __init__(self, longest_seconds: float, first_seconds: float = 0.1) -> None:
        self._longest = longest_seconds
        self._next = min(first_seconds, longest_seconds)

    def next_seconds(self) -> float:
        """The pause to make now, in seconds."""
        now, self._next = self._next, min(self._next * 2, self._longest)
        return now * random.uniform(0.5, 1)  # noqa: S311  # no secret
