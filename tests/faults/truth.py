"""What the tables must hold after a scenario, by the publishers' tallies and by the topic itself.

Every message that was accepted from a publisher must be in the topic. The topic may hold more: sends that timed out but
arrived. So the tables are compared with the oracle for the *set* of events in the topic.
"""

from collections import Counter
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pulsar

from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from schemas.errors import DecodeError
from tests.faults.publisher import DIGEST_BYTES, digest
from tests.law.oracle import COLUMNS, Tables, oracle
from tests.law.tables import difference, read_tables

LETTER = ("topic", "payload", "publish_time")
"""The columns of a dead letter that can be read from the topic."""

COUNTS = {
    "failure_groups": ("occurrence_count", "job_count"),
    "failure_groups_hourly": ("occurrence_count",),
    "outcomes_hourly": ("completed", "retryable", "discarded", "cancelled"),
}


class Stored(NamedTuple):
    """A message in the topic."""

    topic: str
    payload: bytes
    publish_time_us: int


class Judgement(NamedTuple):
    """The result of a comparison."""

    accepted: int
    """Distinct messages that the broker or the SDK's spool accepted."""
    messages: int
    """Messages in the topic."""
    events: int
    """Distinct events in the topic."""
    not_in_topic: int
    """Accepted messages that the topic lacks."""
    rows: int
    """Rows that were compared."""
    lost: int
    """Missing rows of jobs, attempts, edges and dead letters, plus the amounts by which counts are too small."""
    double: int
    """Rows that should not be there, plus the amounts by which counts are too great."""
    tables_different: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Return whether nothing was lost or counted twice, and no table differs."""
        return not (self.not_in_topic or self.tables_different)


def read_topic(url: str, topic: str, partitions: int) -> list[Stored]:
    """Return every message of every partition."""
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    found = []
    try:
        for partition in range(partitions):
            name = f"{topic}-partition-{partition}"
            reader = client.create_reader(name, pulsar.MessageId.earliest, receiver_queue_size=5_000)
            while reader.has_message_available():
                message = reader.read_next(timeout_millis=30_000)
                found.append(Stored(name, message.data(), message.publish_timestamp() * 1_000))
            reader.close()
    finally:
        client.close()
    return found


def judge(
    stored: list[Stored],
    tallies: Iterable[Path],
    connection: psycopg.Connection[Any],
    promised: Set[str] = frozenset(),
) -> Judgement:
    """Compare the tables with the topic; ``promised`` are job ids that must be in it too."""
    decode = decoder(SCHEMA_TEXT)
    events, letters = [], []
    for payload, those in _by_payload(stored).items():
        try:
            events.append(decode(payload)._asdict())
        except DecodeError:
            letters += those
    accepted = {one for path in tallies for one in _digests(path)}
    missing = accepted - {digest(one.payload) for one in stored}
    expected, found = oracle(events), read_tables(connection)
    expected["dead_letters"] = Counter(letters)
    found["dead_letters"] = _letters(found)
    lines = difference({**expected, "dead_letters": Counter()}, {**found, "dead_letters": Counter()})
    lines += [
        f"dead_letters: {row[0]} {row[2]} is missing"
        for row in expected["dead_letters"] - found["dead_letters"]
    ]
    lines += [
        f"dead_letters: {row[0]} {row[2]} should not be there"
        for row in found["dead_letters"] - expected["dead_letters"]
    ]
    different = tuple(table for table in COLUMNS if expected[table] != found[table])
    lost, double = _lost_and_double(expected, found)
    return Judgement(
        accepted=len(accepted) + len(promised),
        messages=len(stored),
        events=len(events),
        not_in_topic=len(missing) + len(promised - {event["job_id"] for event in events}),
        rows=sum(map(Counter.total, expected.values())),
        lost=lost,
        double=double,
        tables_different=different,
        differences=tuple(lines),
    )


def _by_payload(stored: list[Stored]) -> dict[bytes, list[Stored]]:
    found: dict[bytes, list[Stored]] = {}
    for one in stored:
        found.setdefault(one.payload, []).append(one)
    return found


def _digests(path: Path) -> set[bytes]:
    data = path.read_bytes()
    return {data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES)}


def _letters(found: Tables) -> Counter[Any]:
    places = [COLUMNS["dead_letters"].index(column) for column in LETTER]
    return Counter(Stored(*(row[place] for place in places)) for row in found["dead_letters"].elements())


def _lost_and_double(expected: Tables, found: Tables) -> tuple[int, int]:
    lost = double = 0
    for table in ("jobs", "attempts", "lineage_edges", "dead_letters", "failure_group_jobs"):
        lacking, beyond = expected[table] - found[table], found[table] - expected[table]
        lost += max(0, lacking.total() - beyond.total())
        double += max(0, beyond.total() - lacking.total())
    for table, columns in COUNTS.items():
        for column in columns:
            place = COLUMNS[table].index(column)
            right, is_ = _total(expected, table, place), _total(found, table, place)
            lost += max(0, right - is_)
            double += max(0, is_ - right)
    return lost, double


def _total(tables: Tables, table: str, place: int) -> int:
    return sum(row[place] * count for row, count in tables[table].items())
