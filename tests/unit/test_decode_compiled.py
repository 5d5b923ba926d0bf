"""The function compiled for a writer's schema returns what general decoding returns, or None; never anything else."""

import copy
import json
import random
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.compiled import compiled
from schemas.contract import ERROR_TEXTS, OCCURRED_MAX, OCCURRED_MIN, SCHEMA, SCHEMA_TEXT, STATES, Event
from schemas.decode import decoder, general_decoder
from schemas.errors import DecodeError, SchemaError
from schemas.evolution import released
from schemas.writer_schema import writer_schema
from testing.examples import examples
from tests.unit.payload_mutants import MUTATIONS, encode, event_of

MUTANTS = examples(60_000)
_TEXT = st.text(st.characters(codec="utf-8"), max_size=80)
_ID = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=120)
_INT = st.integers(0, 2**31 - 1) | st.integers(0, 70)
_TIME = st.just(0) | st.integers(-(2**62), 2**62) | st.integers(OCCURRED_MIN, OCCURRED_MAX)
_FIELDS: dict[str, st.SearchStrategy[Any]] = {
    **dict.fromkeys(("namespace", "job_id", "worker"), _ID),
    **dict.fromkeys(("queue", "source", "parent_job_id", "root_job_id", "external_id"), _TEXT),
    **dict.fromkeys(("release", "executor", "args"), _TEXT),
    "state": st.sampled_from(STATES),
    "attempt": _INT,
    "max_attempts": _INT,
    "depth": st.integers(-2, 70),
    "occurred_at": st.integers(OCCURRED_MIN - 2, OCCURRED_MAX + 2) | _TIME,
    **dict.fromkeys(("enqueued_at", "scheduled_at", "started_at"), _TIME),
    "depends_on": st.lists(_TEXT, max_size=4) | st.lists(st.just("x"), min_size=60, max_size=70),
    "expected_children": st.dictionaries(_TEXT, st.integers(-1, 2**31 - 1), max_size=3),
    "meta": st.dictionaries(_TEXT, _TEXT, max_size=3),
    "error": st.none()
    | st.fixed_dictionaries(
        dict.fromkeys(("category", "type", "message", "stacktrace", "origin", "fingerprint"), _TEXT)
    ),
}
_RAW = {
    **SCHEMA,
    "fields": [
        {**field, "type": "long"} if field["name"].endswith("_at") else field for field in SCHEMA["fields"]
    ],
}
_RAW_WRITER = fastavro.parse_schema(_RAW)


def both(schema_text: str) -> tuple[Any, Any]:
    """Return the quick function and the general one."""
    checked = writer_schema(schema_text)
    quick = compiled(checked)
    assert quick is not None, "no function was compiled for a schema of ours"
    return quick, general_decoder(checked)


QUICK, GENERAL = both(SCHEMA_TEXT)


def assert_no_more(payload: bytes, quick: Any = QUICK, general: Any = GENERAL) -> bool:
    """Return whether the quick function decoded the payload; if so, assert that the general one agrees, with types."""
    found = quick(payload)
    if found is None:
        return False
    try:
        expected = general(payload)
    except DecodeError as error:
        raise AssertionError(f"decoded, but invalid ({error}): {payload!r}") from error
    assert (found, list(map(type, found))) == (expected, list(map(type, expected)))
    return True


def test_a_broken_payload_is_decoded_as_by_the_general_decoder_or_not_at_all() -> None:
    """Many mutants of valid payloads still decode to an event."""
    chance = random.Random(7)
    decoded = 0
    for number in range(MUTANTS):
        one, other = encode(event_of(chance)), encode(event_of(chance))
        mutant = MUTATIONS[number % len(MUTATIONS)](chance, bytearray(one), other)
        decoded += assert_no_more(mutant)
    assert decoded > MUTANTS / 50, "hardly anything was decoded, so this compared nothing"


@given(st.fixed_dictionaries(_FIELDS))
def test_any_event_is_decoded_the_same(event: dict[str, Any]) -> None:
    """This holds for any texts, numbers and times, valid or not."""
    assert_no_more(encode(event, _RAW_WRITER))


@given(st.integers(0, 60), st.binary(max_size=60))
def test_random_bytes_after_the_start_of_a_payload_are_decoded_the_same(kept: int, rest: bytes) -> None:
    """Both functions refuse most of them; the quick one must then return None."""
    assert_no_more(encode(event_of(random.Random(kept)))[:kept] + rest)


def test_typical_events_are_decoded_by_the_quick_function() -> None:
    """Long texts, any script, an error with a stack trace, lists, large numbers: otherwise it would be useless."""
    values: dict[str, Any] = {
        "namespace": "kino",
        "job_id": "123e4567-e89b-12d3-a456-426614174000",
        "worker": "MovieDetailJob",
        "queue": "scraping",
        "state": "discarded",
        "attempt": 3,
        "max_attempts": 1_000,
        "depth": -1,
        "occurred_at": 1_790_000_000_123_456,
        "enqueued_at": 1_790_000_000_000_000,
        "source": "Kino pod Baranami w Krakowie, 日本語",
        "args": '{"url": "https://example.org/' + "x" * 300 + '"}',
        "error": {"message": "nie znaleziono: żółw", "stacktrace": "  File\n" * 200},
        "expected_children": {"MoviePageJob": 108},
        "depends_on": ["1", "2"],
        "meta": {"host": "a"},
    }
    for change in ({}, {"error": None}, {"state": "available", "attempt": 1, "args": ""}):
        assert assert_no_more(encode({**values, **change}))


@pytest.mark.parametrize("text", released().values(), ids=map(str, released()))
def test_every_released_schema_has_a_quick_function(text: str) -> None:
    """A release that is always decoded slowly would not be noticed."""
    both(text)


def test_a_schema_with_other_fields_is_decoded_by_a_function_of_its_own() -> None:
    """Fields are moved, dropped and added, in the error too. An added field of an unknown type is left to the general decoder."""
    fields = [field for field in reversed(SCHEMA["fields"]) if field["name"] not in ("executor", "meta")]
    more = [
        {"name": "host", "type": "string", "default": ""},
        {"name": "tries", "type": "long", "default": 0},
        {"name": "tags", "type": {"type": "map", "values": "string"}, "default": {}},
    ]
    schema = {**SCHEMA, "fields": [*fields, *more]}
    quick, general = both(json.dumps(schema))
    chance = random.Random(3)
    payloads = [encode(event_of(chance), fastavro.parse_schema(schema)) for _ in range(500)]
    assert sum(assert_no_more(payload, quick, general) for payload in payloads) > 50
    assert quick(payloads[0]) is None or quick(payloads[0]).executor == ""
    odd = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "score", "type": "double", "default": 0.0}]}
    assert compiled(writer_schema(json.dumps(odd))) is None
    assert decoder(json.dumps(odd))(encode(event_of(chance), fastavro.parse_schema(odd)))


def test_broken_payloads_of_a_schema_in_any_order_are_read_the_same() -> None:
    """In each order, another field follows a length beyond any memory: for example the time, which is read at once."""
    chance = random.Random(11)
    decoded = 0
    for _ in range(60):
        fields = [*SCHEMA["fields"], {"name": "host", "type": "string", "default": ""}]
        chance.shuffle(fields)
        schema = {**SCHEMA, "fields": fields}
        writer = fastavro.parse_schema(schema)
        quick, general = both(json.dumps(schema))
        for number in range(60):
            one = encode({**event_of(chance), "host": "h"}, writer)
            mutate = (
                (longest, *MUTATIONS[:7])[number % 8]
                if number % 3
                else lambda _chance, whole, _other: bytes(whole)
            )
            decoded += assert_no_more(mutate(chance, bytearray(one), one), quick, general)
    assert decoded > 100


def longest(chance: random.Random, one: bytearray, other: bytes) -> bytes:
    """Put the greatest length that ten bytes can encode anywhere in a payload."""
    at = chance.randrange(len(one))
    return bytes(one[:at]) + b"\xfe" + b"\xff" * 8 + b"\x01" + bytes(one[at + 1 :])


def test_a_length_beyond_any_memory_before_the_time_is_a_broken_payload() -> None:
    """The length is too large for the function that reads a time, which raises an error of its own."""
    fields = [field for field in SCHEMA["fields"] if field["name"] != "occurred_at"]
    (time,) = (field for field in SCHEMA["fields"] if field["name"] == "occurred_at")
    at = [field["name"] for field in fields].index("attempt") + 1
    schema = {
        **SCHEMA,
        "fields": [*fields[:at], {"name": "host", "type": "string", "default": ""}, time, *fields[at:]],
    }
    payload = b"\x02n\x021\x02W\x00\x0a\x02" + b"\xfe" + b"\xff" * 8 + b"\x01" + b"x" * 40
    with pytest.raises(DecodeError, match="malformed"):
        decoder(json.dumps(schema))(payload)


@pytest.mark.parametrize("where", ["record", "error"])
def test_a_schema_with_two_fields_of_one_name_is_refused(where: str) -> None:
    """The name would be ambiguous."""
    schema = copy.deepcopy(SCHEMA)
    error = next(field for field in schema["fields"] if field["name"] == "error")["type"][1]
    fields = schema["fields"] if where == "record" else error["fields"]
    fields.append(dict(fields[0]))
    with pytest.raises(SchemaError, match="two fields of one name"):
        decoder(json.dumps(schema))


def test_no_function_is_compiled_for_a_schema_of_thousands_of_fields() -> None:
    """Compiling it would take too long; its events are decoded by the general decoder."""
    more = [{"name": f"f{number}", "type": "string", "default": ""} for number in range(3_000)]
    schema = json.dumps({**SCHEMA, "fields": [*SCHEMA["fields"], *more]})
    assert compiled(writer_schema(schema)) is None


def test_an_event_has_the_fields_of_the_contract_in_its_order() -> None:
    """The decoders and the fold rely on the order. Missing fields have the contract's defaults."""
    assert list(Event._fields) == [field["name"] for field in SCHEMA["fields"]]
    defaults = {field["name"]: field["default"] for field in SCHEMA["fields"] if "default" in field}
    assert Event._field_defaults == defaults
    error = next(field for field in SCHEMA["fields"] if field["name"] == "error")["type"][1]
    assert list(ERROR_TEXTS) == [field["name"] for field in error["fields"]]
