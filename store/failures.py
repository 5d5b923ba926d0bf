"""Classes of Postgres errors, by what to do about each, and a retry for conflicts with other transactions.

Errors are distinguished by psycopg's classes (that is, by SQLSTATE), never by their text.
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
"""Another transaction caused it: a retry of the same transaction succeeds."""

IN_THE_WAY: Final = (LockNotAvailable, *TRANSIENT)
"""Another session held a lock for too long, or caused the failure: retry later."""

REFUSED: Final = (psycopg.DataError, psycopg.IntegrityError, ProgramLimitExceeded, StatementTooComplex)
"""Postgres cannot store something in the batch: a retry does not help, but dividing the batch finds it."""

AWAY: Final = (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError)
"""The session or the server is gone, or cannot continue: write the batch again on a new session.

InternalError, because psycopg counts there what ends an idle transaction (25P03) and what a server in recovery or
after a failover refuses (25006).
"""

_TRIES: Final = 20
_LONGEST_PAUSE_SECONDS: Final = 0.01 * 2**6


def retry_conflicts(work: Callable[[], Result]) -> Result:
    """Do the work, a whole transaction. Retry after a short random pause while another transaction is in its way.

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
    """Return the error's message as one line, for a log."""
    return " ".join(str(error).split())
