"""Steps in the code at which a test may hold this process, and kill or release it. Disabled, a barrier is a no-op call.

Enabled if the environment variable JOBTRAIL_BARRIERS has the path of a folder at import. At a step for which the folder has
a file of that name, the process writes one line, `<process id> <step>`, to the Unix socket `socket` in the folder, and the
thread waits for one byte in answer. So a test is never too late and never sleeps: whatever it does before it answers
happens while the thread waits at the step.

The steps are `store.steps.Step` and the names of the merge statements, each once it is done. Packages below `consumers` get
the callback as an argument.
"""

import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeVar

from store.steps import Reached

VARIABLE: Final = "JOBTRAIL_BARRIERS"

Item = TypeVar("Item")

_FOLDER: Final = os.environ.get(VARIABLE, "")


def reached(step: str) -> None:
    """Wait here for as long as a test wants. Without a test, return at once."""
    if _FOLDER and os.path.exists(f"{_FOLDER}/{step}"):
        _tell_and_wait(step)


REACHED_IF_ENABLED: Final[Reached | None] = reached if _FOLDER else None
"""`reached`, or None if barriers are disabled: for code that does extra work for a step in the middle."""


def halfway(step: str, items: Sequence[Item]) -> Iterable[Item]:
    """Return the items, and reach the step when half of them have been taken."""
    return _halfway(step, items) if _FOLDER else items


def _halfway(step: str, items: Sequence[Item]) -> Iterator[Item]:
    middle = len(items) // 2
    yield from items[:middle]
    reached(step)
    yield from items[middle:]


def _tell_and_wait(step: str) -> None:
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as test:
            test.connect(f"{_FOLDER}/socket")
            test.sendall(f"{os.getpid()} {step}\n".encode())
            test.recv(1)
    except OSError:
        return  # the test has ended, so nothing holds this process any more
