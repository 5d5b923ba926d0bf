"""Write one batch, past other transactions and past data that Postgres refuses."""

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
"""How events and dead letters become the rows of a batch, for a horizon: `derive.fold.fold`, or that of a rebuild."""


def write_surely(
    connection: psycopg.Connection, received: Received, batch: Batch, folded: Fold = fold
) -> tuple[Batch, Written]:
    """Write one batch. Data that Postgres refuses is found by halving the batch, and becomes a dead letter.

    Returns everything that was written, with the dead letters made from refused events.
    """
    try:
        return batch, _write_past_others(connection, batch)
    except REFUSED as error:
        parts = _divided(received)
        if len(parts) == 1:
            return _give_up(connection, received, batch.horizon_us, error)
    batches, written = [], []
    for part in parts:
        smaller = folded(part.events, part.dead_letters, batch.horizon_us)
        done, counts = write_surely(connection, part, smaller, folded)
        batches.append(done)
        written.append(counts)
    whole = Batch(
        dead_letters=[letter for done in batches for letter in done.dead_letters],
        events=sum(done.events for done in batches),
        expired=sum(done.expired for done in batches),
        horizon_us=batch.horizon_us,
    )
    return whole, Written(*(sum(numbers) for numbers in zip(*written, strict=True)))


def _divided(received: Received) -> list[Received]:
    """Return smaller parts of a batch: dead letters apart from events, then halves of either. A single item comes back alone."""
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


def _write_past_others(connection: psycopg.Connection, batch: Batch) -> Written:
    """Write one batch; again, after a short random pause, as long as another transaction is in its way."""
    return retry_conflicts(lambda: write_batch(connection, batch, REACHED_IF_ENABLED))


def _give_up(
    connection: psycopg.Connection, received: Received, horizon_us: int | None, refused: psycopg.Error
) -> tuple[Batch, Written]:
    """Keep the one event, or the one dead letter, that Postgres refuses, with what Postgres said."""
    said = one_line(refused)
    if received.events:
        letter = dead_letter(received.event_messages[0], DeadLetterReason.REFUSED_BY_DATABASE, said)
    else:
        # Its bytes can always be stored. What the publisher's client sent with them cannot, so that is left out.
        (given,) = received.dead_letters
        letter = given._replace(
            detail=f"{given.detail} ({said})", message_key="", publish_time_us=0, schema_version=-1
        )
    log.error("refused_by_database", message_id=letter.message_id, error=said, then="it is a dead letter")
    kept = fold([], [letter], horizon_us)
    return kept, _write_past_others(connection, kept)
