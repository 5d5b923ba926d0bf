"""Dead letters: which messages were no valid event, and why.

Taking them out of the table again, by a retry or a purge, is `store/writing/dead_letters.py`.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg

from schemas.errors import InputError, NotFoundError
from schemas.look import look
from schemas.redacted_event import masked_payload
from store.answers.reading import read, snapshot
from store.queries import queries

_QUERIES = queries("answers_dead_letters")


class ReasonCount(NamedTuple):
    """How many dead letters have a reason."""

    reason: str
    messages: int
    last_published_at: datetime


class Letter(NamedTuple):
    """One dead letter, without its payload."""

    topic: str
    message_id: str
    reason: str
    detail: str
    payload_bytes: int
    message_key: str
    published_at: datetime
    schema_version: int


class WholeLetter(NamedTuple):
    """One dead letter with its bytes."""

    topic: str
    message_id: str
    reason: str
    detail: str
    payload: bytes
    message_key: str
    published_at: datetime
    schema_version: int


@dataclass(frozen=True)
class DeadLetters:
    """Counts over all that were asked for, and the newest of them."""

    counts: list[ReasonCount]
    newest: list[Letter]

    @property
    def total(self) -> int:
        """How many there are, also those not listed."""
        return sum(count.messages for count in self.counts)


def get_dead_letters(
    connection: psycopg.Connection,
    *,
    reason: str | None = None,
    topic: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> DeadLetters:
    """Dead letters published at or after ``since`` (as the publisher's clock says), the newest first."""
    asked = {"reason": reason, "topic": topic, "since": since}
    with snapshot(connection):
        counts = read(connection, ReasonCount, _QUERIES["counts_by_reason"], **asked)
        newest = read(connection, Letter, _QUERIES["newest_letters"], **asked, limit=limit)
    return DeadLetters(counts, newest)


def get_dead_letter(
    connection: psycopg.Connection, message_id: str, *, topic: str | None = None
) -> WholeLetter:
    """One dead letter by its message id; of a topic that was made anew, the one published last.

    Secrets in its bytes are overwritten by asterisks.

    Raises NotFoundError when there is none, InputError when several topics have that id.
    """
    with snapshot(connection):
        found = read(
            connection,
            WholeLetter,
            _QUERIES["letters_by_id"],
            message_ids=[message_id, stored_message_id(message_id)],
            topic=topic,
        )
    if not found:
        raise NotFoundError(
            f"no dead letter of message {message_id!r}. `jobtrail dead-letters list` shows what there is."
        )
    if len({letter.topic for letter in found}) > 1:
        raise InputError(
            f"several topics have a dead letter of message {message_id!r}, {found[0].topic} and {found[1].topic} among "
            "them: say which with --topic."
        )
    letter = found[0]
    read_as = look(letter.payload)
    return letter._replace(payload=masked_payload(letter.payload, read_as.event if read_as else None))


def stored_message_id(said: str) -> str:
    """A message id as the table has it, ``(6,1,0,-1)``, of one as a person writes it, ``6:1:0:-1`` or ``6,1,0,-1``.

    A message that came in chunks has an id of two, ``6:1:0:-1+6:3:0:-1``.
    """
    return ";".join(f"({one.strip('()').replace(':', ',')})" for one in said.replace("+", ";").split(";"))


def shown_message_id(stored: str) -> str:
    """The other way round: what needs no quotes in a shell."""
    return "+".join(one.strip("()").replace(",", ":") for one in stored.split(";"))
