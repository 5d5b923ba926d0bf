"""The demo's errors."""


class DemoError(Exception):
    """The demo cannot continue. The message says why, with the end of the log if there is one."""


class Late(DemoError):
    """Something took longer than its deadline."""


class Stopped(BaseException):
    """A signal asked the demo to end. A BaseException, so that no `except Exception` swallows it."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(signal_number)
        self.signal_number = signal_number
