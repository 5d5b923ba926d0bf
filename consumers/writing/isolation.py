"""Write one batch whatever is in it: past other transactions, and past what Postgres refuses to hold."""

import psycopg
import structlog

from consumers.process.barriers import REACHED_IF_ENABLED
from consumers.receiving.decode import Received, dead_letter
from derive.fold import fold
from derive.rows import Batch, Written
from store.failures import REFUSED, one_line, past_others
from store.writing.writer import write_batch

log = structlog.get_logger(__name__)


def write_surely(connection: psycopg.Connection, received: Received, batch: Batch) -> tuple[Batch, Written]:
    """Write one batch; what Postgres cannot hold is found by dividing, and becomes a dead letter.

    Gives what was written in all, with the dead letters that were made of refused events.
    """
    try:
        return batch, _write_past_others(connection, batch)
    except REFUSED as error:
        parts = _divided(received)
        if len(parts) == 1:
            return _give_up(connection, received, batch.horizon_us, error)
    batches, written = [], []
    for part in parts:
        smaller = fold(part.events, part.dead_letters, batch.horizon_us)
        done, counts = write_surely(connection, part, smaller)
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
    """Smaller parts of a batch: dead letters apart from events, then halves of either. Of one thing, itself."""
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
    return past_others(lambda: write_batch(connection, batch, REACHED_IF_ENABLED))


def _give_up(
    connection: psycopg.Connection, received: Received, horizon_us: int | None, refused: psycopg.Error
) -> tuple[Batch, Written]:
    """The one event, or the one dead letter, that Postgres refuses: kept with what Postgres said."""
    said = one_line(refused)
    if received.events:
        letter = dead_letter(received.event_messages[0], "refused_by_database", said)
    else:
        # Its bytes can always be stored; what came with them from the publisher's client can not, so it goes.
        (given,) = received.dead_letters
        letter = given._replace(
            detail=f"{given.detail} ({said})", message_key="", publish_time_us=0, schema_version=-1
        )
    log.error("refused_by_database", message_id=letter.message_id, error=said, then="it is a dead letter")
    kept = fold([], [letter], horizon_us)
    return kept, _write_past_others(connection, kept)
