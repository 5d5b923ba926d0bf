"""Writes one batch: retries after conflicts with other transactions, and isolates data that Postgres refuses."""

from collections.abc import Callable, Sequence

import psycopg
import structlog

from consumers.process.barriers import REACHED_IF_ENABLED
from consumers.receiving.decode import Received, dead_letter
from derive.fold import fold
from derive.rows import Batch, DeadLetter, Written
from schemas.contract import Event
from schemas.dead_letter_reasons import DeadLetterReason
from store.failures import REFUSED, one_line, retry_conflicts
from store.writing.writer import write_batch

log = structlog.get_logger(__name__)


Fold = Callable[[Sequence[Event], Sequence[DeadLetter], int | None], Batch]
"""Turns events and dead letters into the rows of a batch, for a horizon: `derive.fold.fold`, or the one of a rebuild."""


def write_isolating(
    connection: psycopg.Connection, received: Received, batch: Batch, folded: Fold = fold
) -> tuple[Batch, Written]:
    """Write one batch. Find data that Postgres refuses by halving the batch, and make it a dead letter.

    Returns everything that was written, with the dead letters of refused events.
    """
    try:
        return batch, _write_with_retries(connection, batch)
    except REFUSED as error:
        parts = _divide(received)
        if len(parts) == 1:
            return _keep_refused(connection, received, batch.horizon_us, error)
    batches, written = [], []
    for part in parts:
        smaller = folded(part.events, part.dead_letters, batch.horizon_us)
        done, counts = write_isolating(connection, part, smaller, folded)
        batches.append(done)
        written.append(counts)
    whole = Batch(
        dead_letters=[letter for done in batches for letter in done.dead_letters],
        events=sum(done.events for done in batches),
        expired=sum(done.expired for done in batches),
        horizon_us=batch.horizon_us,
    )
    return whole, Written(*(sum(numbers) for numbers in zip(*written, strict=True)))


def _divide(received: Received) -> list[Received]:
    """Divide a batch: first dead letters from events, then either in halves. A single item is returned unchanged."""
    messages, events, of, letters = received
    if events and letters:
        return [Received(messages, [], [], letters), Received(messages, events, of, [])]
    if len(events) > 1:
        middle = len(events) // 2
        return [
            Received(messages, events[:middle], of[:middle], []),
            Received(messages, events[middle:], of[middle:], []),
        ]
    if len(letters) > 1:
        middle = len(letters) // 2
        return [Received(messages, [], [], letters[:middle]), Received(messages, [], [], letters[middle:])]
    return [received]


def _write_with_retries(connection: psycopg.Connection, batch: Batch) -> Written:
    """Write one batch, retrying after conflicts with other transactions."""
    return retry_conflicts(lambda: write_batch(connection, batch, REACHED_IF_ENABLED))


def _keep_refused(
    connection: psycopg.Connection, received: Received, horizon_us: int | None, refused: psycopg.Error
) -> tuple[Batch, Written]:
    """Store the one event or dead letter that Postgres refuses as a dead letter, with Postgres's message."""
    said = one_line(refused)
    if received.events:
        letter = dead_letter(received.event_messages[0], DeadLetterReason.REFUSED_BY_DATABASE, said)
    else:
        # Its bytes can always be stored. What the publisher's client sent with them was refused, so it is left out.
        (given,) = received.dead_letters
        letter = given._replace(
            detail=f"{given.detail} ({said})", message_key="", publish_time_us=0, schema_version=-1
        )
    log.error(
        "refused_by_database", message_id=letter.message_id, error=said, then="keeps it as a dead letter"
    )
    kept = fold([], [letter], horizon_us)
    return kept, _write_with_retries(connection, kept)
