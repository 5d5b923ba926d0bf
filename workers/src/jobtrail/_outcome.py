"""Decides how an attempt ended: the state and error of its last event, from what the job set and what it raised."""

import asyncio
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final, NamedTuple

from jobtrail._classify import error_of
from jobtrail._config import Config
from jobtrail._contract import JobState
from jobtrail._errors import Cancel, Discard, Retry
from jobtrail._text import CATEGORY_LIMIT, FINGERPRINT_LIMIT, MESSAGE_LIMIT, cut_end, identifier, text_of


class Outcome(NamedTuple):
    """The state of the finishing event, and its error, or None without one."""

    state: JobState
    error: Mapping[str, Any] | None


COMPLETED: Final = Outcome("completed", None)
_CANCELLING: Final = (Cancel, asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit)


def said(state: JobState, category: str, message: str, fingerprint: str, frame: FrameType) -> Outcome:
    """Return the outcome that a job set itself, in ``frame``."""
    return Outcome(
        state,
        {
            "category": identifier(category, CATEGORY_LIMIT) or "error",
            "message": cut_end(text_of(message), MESSAGE_LIMIT),
            "origin": f"{frame.f_globals.get('__name__', '')}:{frame.f_code.co_qualname}",
            "fingerprint": identifier(fingerprint, FINGERPRINT_LIMIT),
        },
    )


def raised(
    error: BaseException, before: Outcome | None, attempt: int, max_attempts: int, settings: Config
) -> Outcome:
    """Return the outcome of an attempt that ends with an exception; an outcome that the job set ``before`` wins."""
    found = error_of(error, settings.categories, settings.own_code)
    if before is None:
        return Outcome(_state_after(error, attempt, max_attempts), found)
    for name in ("category", "message", "fingerprint"):
        text = (before.error or {}).get(name)
        if text:
            found[name] = text
    return Outcome(before.state, found)


def _state_after(error: BaseException, attempt: int, max_attempts: int) -> JobState:
    if isinstance(error, _CANCELLING):
        return "cancelled"
    if isinstance(error, Discard):
        return "discarded"
    if isinstance(error, Retry) or attempt < max_attempts:
        return "retryable"
    return "discarded"
