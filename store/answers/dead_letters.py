"""Dead letters: which messages are not valid events, and why.

`store/writing/dead_letters.py` removes them from the table again, by a retry or a purge.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import psycopg

from schemas.errors import InputError, NotFoundError
from schemas.look import look
from schemas.redacted_event import masked_payload
from store.answers.names import require_topic
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
    """The dead letters that match: all of them counted by reason, and the newest."""

    counts: list[ReasonCount]
    newest: list[Letter]

    @property
    def total(self) -> int:
        """How many match, listed or not."""
        return sum(count.messages for count in self.counts)


def get_dead_letters(
    connection: psycopg.Connection,
    *,
    reason: str | None = None,
    topic: str | None = None,
    since: datetime | None = None,
    limit: int = 50,
) -> DeadLetters:
    """Return dead letters published at or after ``since``, by the publisher's clock, the newest first.

    Raises NotFoundError when nothing is found because the topic has no dead letters.
    """
    asked = {"reason": reason, "topic": topic, "since": since}
    with snapshot(connection):
        counts = read(connection, ReasonCount, _QUERIES["counts_by_reason"], **asked)
        newest = read(connection, Letter, _QUERIES["newest_letters"], **asked, limit=limit)
        if not counts:
            require_topic(connection, topic)
    return DeadLetters(counts, newest)


def get_dead_letter(
    connection: psycopg.Connection, message_id: str, *, topic: str | None = None
) -> WholeLetter:
    """Return one dead letter by its message id. If the topic was created again, return the one published last.

    Secrets in its bytes are replaced by asterisks.

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
            f"no dead letter of message {message_id!r}. `jobtrail dead-letters list` shows all."
        )
    if len({letter.topic for letter in found}) > 1:
        raise InputError(
            f"several topics have a dead letter of message {message_id!r}, among them {found[0].topic} and "
            f"{found[1].topic}: choose one with --topic."
        )
    letter = found[0]
    read_as = look(letter.payload)
    return letter._replace(payload=masked_payload(letter.payload, read_as.event if read_as else None))


def stored_message_id(typed: str) -> str:
    """Return a message id as the table stores it, ``(6,1,0,-1)``, from what a person typed: ``6:1:0:-1`` or ``6,1,0,-1``.

    A message that came in chunks has two ids, ``6:1:0:-1+6:3:0:-1``.
    """
    return ";".join(f"({one.strip('()').replace(':', ',')})" for one in typed.replace("+", ";").split(";"))


def format_message_id(stored: str) -> str:
    """Return a stored message id in the form that needs no quotes in a shell: ``6:1:0:-1``."""
    return "+".join(one.strip("()").replace(",", ":") for one in stored.split(";"))
