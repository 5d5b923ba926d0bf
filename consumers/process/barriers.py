"""Places in the code where a test may stop this process, and kill or release it there. Off, they cost a call of nothing.

On when the environment variable JOBTRAIL_BARRIERS holds the path of a folder at import. A step of which there is a file
in it, by its name, is told to whoever listens at the Unix socket `socket` there, in one line, `<process id> <step>`, and the
thread waits for one byte in answer. So a test is never too late and never sleeps: what it does before it answers happens
while the thread stands at the step.

Steps of a batch, in order: `after receive`, `after fold`, `during copy` (in the middle of the stream, once for each
stage), the names of the merge statements, each once it is done, `before commit`, `after commit` (before anything is
acknowledged), `during ack` (half of the batch is). Other parts name steps of their own.

What lies below `consumers` is given `WATCH` as an argument.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

VARIABLE: Final = "JOBTRAIL_BARRIERS"

Item = TypeVar("Item")

_FOLDER: Final = os.environ.get(VARIABLE, "")


def reached(step: str) -> None:
    """Wait here for as long as a test wants; without one, go on at once."""
    if _FOLDER and os.path.exists(f"{_FOLDER}/{step}"):
        _tell_and_wait(step)


WATCH: Final[Callable[[str], None] | None] = reached if _FOLDER else None
"""`reached`, or None when barriers are off: for code that would have to do something else to have a middle."""


def halfway(step: str, items: Sequence[Item]) -> Iterable[Item]:
    """The items, with the step reached when half of them have been taken."""
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
        return  # the test has ended: nobody wants this process to stand anywhere
