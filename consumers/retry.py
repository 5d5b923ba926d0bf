"""Retries dead letters with what is known now. Those that can be decoded become events, stored by the usual writer.

It works in parts of some hundred. Each part is one transaction that stores the events and removes their dead letters. An
interruption loses nothing and counts nothing twice: a part is done or not, and an event that is stored a second time (by a
redelivery, by another retry) changes nothing, because the tables are a function of the set of events.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import psycopg

from broker.client import Client
from broker.registry import WriterSchemas
from consumers.receiving.decode import storable_detail
from derive.fold import fold
from derive.rows import DeadLetter
from schemas.contract import Event
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.errors import DecodeError
from settings.broker import BrokerSettings
from store.failures import REFUSED, one_line, retry_conflicts
from store.steps import Reached, ignore_step
from store.writing.dead_letters import DeadLetterFilter, count_matching, next_matching, replace_dead_letters
from store.writing.writer import HorizonMovedError, prepare_session, read_horizon

LetterDecoder = Callable[[DeadLetter], Event]

INCOMPLETE = frozenset({DeadLetterReason.TOO_LARGE, DeadLetterReason.ENCRYPTED})
"""Reasons whose dead letters never have decodable bytes in the table: these are left unchanged."""

_PARTITION = re.compile(r"-partition-\d+$")


@dataclass
class Retried:
    """The result of a retry. ``expired``: decodable, but from before the horizon, so not stored."""

    tried: int = 0
    stored: int = 0
    expired: int = 0
    left: Counter[str] = field(default_factory=Counter)
    """How many still cannot be decoded, by reason."""


def retry(
    connection: psycopg.Connection,
    decode: LetterDecoder,
    wanted: DeadLetterFilter,
    *,
    keep_reasons: bool = False,
    reached: Reached = ignore_step,
    on_part: Callable[[Retried], None] = lambda _done: None,
) -> Retried:
    """Retry every dead letter that matched at the start. Those that fail again stay, with their new reason.

    ``keep_reasons`` does not change the reasons; it is for a decoder that fits only some dead letters. ``reached`` is called
    with the steps of each transaction, ``on_part`` with the result so far. Raises BrokerError when a schema is not available,
    and psycopg's errors when Postgres is away; finished parts stay.
    """
    prepare_session(connection)
    most = count_matching(connection, wanted)
    done = Retried()
    last: DeadLetter | None = None
    while done.tried < most:
        letters = next_matching(connection, wanted, last)
        if not letters:
            break
        last = letters[-1]
        part = _Part(connection, keep_reasons, reached, done)
        part.write(letters, [_opened(decode, letter) for letter in letters])
        done.tried += len(letters)
        on_part(done)
    return done


def broker_decoder(client: Client, settings: BrokerSettings, version: int | None = None) -> LetterDecoder:
    """Return a decoder that uses the broker's registry: with the message's schema version, or with ``version`` if given."""
    topics: dict[str, WriterSchemas] = {}

    def decode(letter: DeadLetter) -> Event:
        topic = _PARTITION.sub("", letter.topic)
        if topic not in topics:
            topics[topic] = WriterSchemas(client, settings.model_copy(update={"topic": topic}))
        return topics[topic].decoder(letter.schema_version if version is None else version)(letter.payload)

    return decode


def _opened(decode: LetterDecoder, letter: DeadLetter) -> Event | DecodeError:
    if letter.reason in INCOMPLETE:
        return DecodeError(DeadLetterReason(letter.reason), letter.detail)
    try:
        return decode(letter)
    except DecodeError as error:
        return error


class _Part:
    """Writes one part: retries after conflicts with other transactions, and isolates data that Postgres refuses."""

    def __init__(
        self,
        connection: psycopg.Connection,
        keep_reasons: bool,
        reached: Reached,
        done: Retried,
    ) -> None:
        self._connection = connection
        self._keep_reasons = keep_reasons
        self._reached = reached
        self._done = done
        self._horizon_us = read_horizon(connection)
        connection.rollback()

    def write(self, letters: Sequence[DeadLetter], opened: Sequence[Event | DecodeError]) -> None:
        """Store the events and set the reasons of the others. Halve the part until data that Postgres refuses is isolated."""
        try:
            self._store(letters, opened)
        except REFUSED as error:
            if len(letters) == 1:
                refusal = DecodeError(DeadLetterReason.REFUSED_BY_DATABASE, one_line(error))
                self._store(letters, [refusal])
                return
            middle = len(letters) // 2
            self.write(letters[:middle], opened[:middle])
            self.write(letters[middle:], opened[middle:])

    def _store(self, letters: Sequence[DeadLetter], opened: Sequence[Event | DecodeError]) -> None:
        events: list[Event] = []
        leaving: list[DeadLetter] = []
        staying: list[DeadLetter] = []
        reasons: Counter[str] = Counter()
        for letter, found in zip(letters, opened, strict=True):
            if not isinstance(found, DecodeError):
                events.append(found)
                leaving.append(letter)
                continue
            now = letter if self._keep_reasons else _with_reason(letter, found)
            reasons[now.reason] += 1
            if now != letter:
                leaving.append(letter)
                staying.append(now)
        expired = self._write(events, leaving, staying) if leaving else 0
        self._done.stored += len(events) - expired
        self._done.expired += expired
        self._done.left += reasons

    def _write(
        self, events: Sequence[Event], leaving: Sequence[DeadLetter], staying: Sequence[DeadLetter]
    ) -> int:
        """Write one transaction, retrying after conflicts. Return how many events had expired."""
        while True:
            batch = fold(events, staying, self._horizon_us)
            try:
                retry_conflicts(
                    partial(replace_dead_letters, self._connection, batch, leaving, self._reached)
                )
            except HorizonMovedError as moved:
                self._horizon_us = moved.horizon_us
            else:
                return batch.expired


def _with_reason(letter: DeadLetter, error: DecodeError) -> DeadLetter:
    return letter._replace(reason=error.reason.value, detail=storable_detail(error.detail))
