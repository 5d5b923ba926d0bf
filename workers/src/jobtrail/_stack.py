"""Stack traces in two steps: captured in the job's thread, which is cheap; printed in the sender's, which is not.

The capture holds code objects and line numbers, never frames: a queued event must not keep a job's variables alive.
The text is what Python prints, without the underlining of the source. Nothing here raises.
"""

import linecache
import os
from collections import deque
from functools import lru_cache
from types import CodeType, TracebackType
from typing import Any, Final, NamedTuple

from jobtrail._redaction import Redactor
from jobtrail._text import (
    ERROR_TYPE_LIMIT,
    MESSAGE_LIMIT,
    STACKTRACE_LIMIT,
    cut_end,
    cut_middle,
    identifier,
    text_of,
)

# Frames kept from one traceback: those nearest to the failure. Exceptions kept from a chain or a group.
FRAMES_LIMIT: Final = 60
EXCEPTIONS_LIMIT: Final = 8
_WALK_LIMIT: Final = 5_000
_SDK_DIRECTORY: Final = os.path.dirname(os.path.abspath(__file__)) + os.sep

_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_GROUP: Final = "\nIn this group of exceptions there is:\n\n"


class Part(NamedTuple):
    """One exception of a chain: the line that links it to the part before it, and what is printed for it."""

    link: str
    frames: tuple[tuple[CodeType, int], ...]
    left_out: int
    last_line: str


def capture(error: BaseException) -> tuple[Part, ...]:
    """Capture an exception, its causes and the members of its group for `render`, the oldest cause first."""
    parts: list[Part] = []
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None:
        seen.add(id(current))
        older, link = _older(current)
        if older is None or id(older) in seen or len(seen) == EXCEPTIONS_LIMIT:
            older, link = None, ""
        parts.append(_part(current, link))
        current = older
    parts.reverse()
    if isinstance(error, BaseExceptionGroup):
        parts += [_part(member, _GROUP) for member in error.exceptions[:EXCEPTIONS_LIMIT]]
    return tuple(parts)


def render(stack: Any, redactor: Redactor) -> str:
    """Print what was captured, or take a text as it is; secrets redacted, within the limit of a stack trace."""
    if isinstance(stack, str):
        return cut_middle(redactor.trace(cut_middle(stack, 4 * STACKTRACE_LIMIT)), STACKTRACE_LIMIT)
    return cut_middle("".join(_print(part, redactor) for part in stack or ()), STACKTRACE_LIMIT)


def size_of(stack: Any) -> int:
    """Estimate the bytes that `render` will return."""
    return len(stack) if isinstance(stack, str) else sum(100 + 120 * len(part.frames) for part in stack)


def type_name(kind: type[BaseException]) -> str:
    """Return a class's name as ``package.module.Class``; builtin classes without their module."""
    return identifier(f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."), ERROR_TYPE_LIMIT)


def is_sdk(path: str) -> bool:
    """Return whether a source file belongs to this package."""
    return path.startswith(_SDK_DIRECTORY)


def _older(error: BaseException) -> tuple[BaseException | None, str]:
    """Return the exception that this one followed from, and the line printed between the two."""
    if error.__cause__ is not None:
        return error.__cause__, _CAUSE
    if error.__context__ is not None and not error.__suppress_context__:
        return error.__context__, _CONTEXT
    return None, ""


def _part(error: BaseException, link: str) -> Part:
    frames: deque[tuple[CodeType, int]] = deque(maxlen=FRAMES_LIMIT)
    trace: TracebackType | None = error.__traceback__
    count = 0
    while trace is not None and count < _WALK_LIMIT:
        code = trace.tb_frame.f_code
        # The SDK's own frames say nothing about the failure.
        if not code.co_filename.startswith(_SDK_DIRECTORY):
            frames.append((code, trace.tb_lineno))
            count += 1
        trace = trace.tb_next
    message = cut_end(text_of(error), MESSAGE_LIMIT)
    name = type_name(type(error))
    last_line = f"{name}: {message}" if message else name
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        last_line = "\n".join([last_line, *(cut_end(text_of(note), MESSAGE_LIMIT) for note in notes[:10])])
    return Part(link, tuple(frames), count - len(frames), last_line)


def _print(part: Part, redactor: Redactor) -> str:
    lines = [part.link]
    if part.frames:
        lines.append("Traceback (most recent call last):\n")
    if part.left_out:
        lines.append(f"  [{part.left_out} outer frames left out]\n")
    for code, line_number in part.frames:
        lines.append(f'  File "{code.co_filename}", line {line_number}, in {code.co_name}\n')
        source = linecache.getline(code.co_filename, line_number).strip()
        if source:
            lines.append(f"    {_line_of_code(source[:200], redactor)}\n")
    lines.append(f"{redactor.text(part.last_line)}\n")
    return "".join(lines)


@lru_cache(maxsize=2048)
def _line_of_code(line: str, redactor: Redactor) -> str:
    """The same lines come again and again."""
    return redactor.code(line)
