"""The errors of the demo."""


class DemoError(Exception):
    """The demo cannot go on; the message says why, with the end of a log where there is one."""


class Late(DemoError):
    """Something took longer than its deadline."""


class Stopped(BaseException):
    """Somebody asked the demo to end, by a signal. No `except Exception` is to swallow it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
