"""The ways in which Postgres fails a statement, by what to do about each; and how to try again past other transactions.

Errors are told apart by psycopg's classes (that is, by SQLSTATE), never by their text.
"""

import random
import time
from collections.abc import Callable
from typing import Final, TypeVar

import psycopg
import structlog
from psycopg.errors import (
    DeadlockDetected,
    LockNotAvailable,
    ProgramLimitExceeded,
    SerializationFailure,
    StatementTooComplex,
)

log = structlog.get_logger(__name__)

Result = TypeVar("Result")

TRANSIENT: Final = (SerializationFailure, DeadlockDetected)
"""Another transaction caused it: the same transaction succeeds when tried again."""

IN_THE_WAY: Final = (LockNotAvailable, *TRANSIENT)
"""Another session holds a lock for longer than we are willing to wait, or caused the failure: try again later."""

REFUSED: Final = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, StatementTooComplex)
"""Postgres cannot hold something in the batch: trying again does not help, dividing the batch finds it."""

AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""The session or the server is gone, or cannot go on: the batch is written again on a new session.

InternalError, because psycopg counts there what ends an idle transaction (25P03) and what a server in recovery or
after a failover refuses (25006).
"""

_TRIES: Final = 20
_LONGEST_PAUSE_SECONDS: Final = 0.01 * 2**6


def past_others(work: Callable[[], Result]) -> Result:
    """Do the work, a whole transaction; again, after a short random pause, while another transaction is in its way.

    Raises what the work raises; a transient failure only after 20 tries.
    """
    for attempt in range(1, _TRIES):
        try:
            return work()
        except TRANSIENT as error:
            log.info("met_another_transaction", attempt=attempt, error=one_line(error), then="tries again")
            longest = min(0.01 * 2**attempt, _LONGEST_PAUSE_SECONDS)
            time.sleep(random.uniform(0, longest))  # noqa: S311  # spreads retries, no secret
    return work()


def one_line(error: BaseException) -> str:
    """Return what the error says, as one line of a log."""
    return " ".join(str(error).split())
