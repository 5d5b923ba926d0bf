"""For any bytes, decoding returns an event that Postgres can store or raises DecodeError: never anything else."""

import contextlib
import random
import struct
from collections import Counter
from typing import Any

import pytest

from schemas.contract import SCHEMA, SCHEMA_TEXT
from schemas.decode import decoder
from schemas.errors import DecodeError
from testing.examples import examples
from tests.unit.payload_mutants import FIRST_TIME, LAST_TIME, MUTATIONS, STATES, encode, event_of, zigzag

MUTANTS = examples(100_000)
SEED = 20_250_301
REASONS = {
    "malformed",
    "trailing_bytes",
    "missing_field",
    "unknown_state",
    "out_of_range",
    "nul_in_text",
    "too_long",
}
LENGTHS = {
    "namespace": 200,
    "job_id": 500,
    "worker": 300,
    "queue": 200,
    "source": 300,
    "parent_job_id": 500,
    "root_job_id": 500,
}


def assert_storable(event: dict[str, Any]) -> None:
    """Check what the tables require of an event, independently of the code under test."""
    assert set(event) == {field["name"] for field in SCHEMA["fields"]}
    assert event["state"] in STATES
    assert all(event[name] for name in ("namespace", "job_id", "worker", "occurred_at"))
    for value in (
        event["attempt"],
        event["max_attempts"],
        event["depth"],
        *event["expected_children"].values(),
    ):
        struct.pack(">i", value)
    assert event["attempt"] >= 1
    assert event["max_attempts"] >= 0
    assert event["depth"] >= -1
    assert all(count >= 0 for count in event["expected_children"].values())
    for name in ("occurred_at", "enqueued_at", "scheduled_at", "started_at"):
        assert FIRST_TIME <= event[name] <= LAST_TIME
    texts = [value for value in event.values() if isinstance(value, str)]
    texts += [*event["depends_on"], *event["expected_children"], *event["meta"], *event["meta"].values()]
    texts += (event["error"] or {}).values()
    for text in texts:
        assert isinstance(text, str)
        assert "\0" not in text
        text.encode()  # fails on a lone surrogate
    for name, most in LENGTHS.items():
        assert len(event[name].encode()) <= most, name
    assert all(len(one.encode()) <= 500 for one in event["depends_on"])
    assert all(len(worker.encode()) <= 300 for worker in event["expected_children"])
    assert max(len(event["depends_on"]), len(event["expected_children"]), len(event["meta"])) <= 1_000


def test_every_mutant_gives_an_event_that_can_be_stored_or_one_decode_error() -> None:
    """At least a tenth of 100,000 mutants of valid payloads still decode, so the fuzz reaches past the first byte."""
    chance = random.Random(SEED)
    decode = decoder(SCHEMA_TEXT)
    corpus = [encode(event_of(chance)) for _ in range(300)]
    outcomes: Counter[str] = Counter()
    decoded: Counter[str] = Counter()
    for _ in range(MUTANTS):
        mutate = chance.choice(MUTATIONS)
        payload = mutate(chance, bytearray(chance.choice(corpus)), chance.choice(corpus))
        try:
            event = decode(payload)
        except DecodeError as error:
            outcomes[error.reason] += 1
        except BaseException as error:
            raise AssertionError(
                f"{mutate.__name__} of a valid payload gave {error!r}: {payload!r}"
            ) from error
        else:
            outcomes["event"] += 1
            decoded[mutate.__name__] += 1
            try:
                assert_storable(event._asdict())
            except Exception as error:
                raise AssertionError(f"{mutate.__name__} got through: {event!r} from {payload!r}") from error
    print(f"{MUTANTS} mutants: {dict(outcomes)}; decoded by mutation: {dict(decoded)}")
    assert sum(outcomes.values()) == MUTANTS
    assert outcomes["event"] >= MUTANTS / 10
    assert set(outcomes) - {"event"} <= REASONS
    assert {mutate.__name__ for mutate in MUTATIONS} - {"truncate"} <= set(decoded)


@pytest.mark.parametrize("index", [-1, -8, -9, 8, -(2**31), 2**31, -(2**63), 2**63 - 1])
def test_a_state_that_the_schema_does_not_have_is_malformed(index: int) -> None:
    """Python's index -1 is the last of a list: such a payload must not become an event of a discarded job."""
    decode = decoder(SCHEMA_TEXT)
    event = {"namespace": "n", "job_id": "1", "worker": "W", "queue": "q", "attempt": 1, "occurred_at": 1}
    payload = encode({**event, "state": "completed"})
    before = b"\x02n\x021\x02W\x02q"
    assert payload.startswith(before + zigzag(5))
    with pytest.raises(DecodeError, match=r"^malformed: "):
        decode(before + zigzag(index) + payload[len(before) + 1 :])


@pytest.mark.parametrize("size", [0, 1, 2, 7, 64, 1_000])
def test_random_bytes_never_break_the_decoder(size: int) -> None:
    """The bytes were never an encoded event."""
    chance = random.Random(size)
    decode = decoder(SCHEMA_TEXT)
    for _ in range(500):
        with contextlib.suppress(DecodeError):
            assert_storable(decode(chance.randbytes(size))._asdict())
