"""Names of the steps at which a test may hold a process (in a batch, a rebuild or a retry), and the type of the callback.

The callback is called ``reached`` everywhere. Services use that of `consumers.process.barriers`, which does nothing outside
tests. Merge statements are also steps, by their names in merge.sql; retention names its own steps.
"""

from collections.abc import Callable
from enum import StrEnum

Reached = Callable[[str], None]
"""Called with a step's name once the step is done."""


class Step(StrEnum):
    """A point in the work at which a test may hold or kill the process."""

    AFTER_RECEIVE = "after receive"
    AFTER_FOLD = "after fold"
    DURING_COPY = "during copy"
    """In the middle of the stream, once for each stage table."""
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    """Before any message of the batch is acknowledged."""
    DURING_ACK = "during ack"
    """After half of the batch's messages are acknowledged."""

    BEFORE_START = "before start"
    STARTED = "started"
    LOADING = "loading"
    LOADED = "loaded"
    INDEXED = "indexed"
    BEFORE_SWAP = "before swap"
    DURING_SWAP = "during swap"
    AFTER_SWAP = "after swap"
    COMPARED = "compared"
    DONE = "done"


def ignore_step(_step: str) -> None:
    """Do nothing at a step: the default of ``reached``."""
