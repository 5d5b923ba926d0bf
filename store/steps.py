"""The steps of a batch, a rebuild and a retry at which a test may hold a process: their names, and the type of the callback.

The callback is called ``reached`` everywhere. `consumers.process.barriers` has the one that services use; without a test it does
nothing. Merge statements are steps as well, by their names in merge.sql; retention names its steps itself.
"""

from collections.abc import Callable
from enum import StrEnum

Reached = Callable[[str], None]
"""Called with a step's name once the step is done."""


class Step(StrEnum):
    """A place in the work where a process may be held or killed."""

    AFTER_RECEIVE = "after receive"
    AFTER_FOLD = "after fold"
    DURING_COPY = "during copy"
    """In the middle of the stream, once for each stage."""
    BEFORE_COMMIT = "before commit"
    AFTER_COMMIT = "after commit"
    """Before any message of the batch is acknowledged."""
    DURING_ACK = "during ack"
    """Half of the batch's messages are acknowledged."""

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
