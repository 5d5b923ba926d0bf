"""--wait: retry while a broker or a database is not running yet or is starting; never for any other error."""

import math
import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

from cli.asking import warn
from cli.times import Seconds
from schemas.errors import BrokerAwayError, DatabaseAwayError

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")

WAIT_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 24 * 60 * 60
_PAUSE_SECONDS: Final = 0.5


def wait_option(what: str) -> Callable[[Command], Command]:
    """Add --wait[=SECONDS]."""
    return click.option(
        "--wait",
        "wait_seconds",
        type=Seconds(_LONGEST_SECONDS),
        is_flag=False,
        flag_value=WAIT_SECONDS,
        metavar="[SECONDS]",
        help=f"Wait for a {what} that is not running yet or is starting: {WAIT_SECONDS:g} s at most, or SECONDS.",
    )


def patiently(attempt: Callable[[float], Result], wait_seconds: float | None) -> Result:
    """Return what the attempt returns. While its server is away, retry until the time is up.

    The attempt is called with the seconds left, or infinity without --wait. Raises BrokerAwayError or DatabaseAwayError when
    the time is up, and any other error at once.
    """
    deadline = time.monotonic() + (wait_seconds or 0)
    has_said = False
    while True:
        try:
            return attempt(math.inf if wait_seconds is None else deadline - time.monotonic())
        except (BrokerAwayError, DatabaseAwayError) as error:
            if wait_seconds is None:
                raise
            left = deadline - time.monotonic()
            if left <= 0:
                raise type(error)(f"waited for {wait_seconds:g} s: {error}") from error
            if not has_said:
                from cli.render.safe_text import safe

                warn(
                    f"jobtrail: waiting for at most {left:.0f} s: {safe(' '.join(str(error).split()), 2_000)}"
                )
                has_said = True
            time.sleep(min(_PAUSE_SECONDS, left))


def shortened(timeout_seconds: int, left_seconds: float) -> int:
    """Return the timeout of one attempt, in whole seconds and at least 1, so that it ends when the waiting ends."""
    return max(1, min(timeout_seconds, math.ceil(min(left_seconds, timeout_seconds))))
