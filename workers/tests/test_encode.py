"""Events that the SDK encodes can be decoded with the contract's file, and the SDK contains that same file."""

import hashlib
import io
import json
from enum import StrEnum
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtrail
from jobtrail._avro import NUMBERS, Texts, long, moment
from jobtrail._encode import encode
from schemas import generate
from schemas.generate_record import generate_record
from workers.tests.reading import CONTRACT, decode

# Short texts, repeated texts, and lengths around those at which the length prefix needs one more byte.
TEXT = (
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
    | st.sampled_from(["", "cpu", "MoviePageJob", "żółć", "🎬"])
    | st.integers(60, 70).map("x".__mul__)
    | st.integers(190, 200).map("x".__mul__)
)
LONG = (
    st.integers(min_value=-(2**63), max_value=2**63 - 1)
    | st.integers(min_value=-300, max_value=300)
    | st.integers(min_value=1_700_000_000_000_000, max_value=1_900_000_000_000_000)
    | st.builds(lambda bits, near: 2**bits + near, st.integers(1, 62), st.integers(-2, 2))
)
INT = st.integers(min_value=-1, max_value=2**31 - 1) | st.integers(min_value=-1, max_value=300)
ERROR = st.fixed_dictionaries(
    {"category": TEXT.filter(lambda text: len(text.encode()) <= 100)}  # the smallest of the SDK's limits
    | dict.fromkeys(("type", "message", "stacktrace", "origin", "fingerprint"), TEXT)
)
EVENT = st.fixed_dictionaries(
    {
        "namespace": TEXT,
        "job_id": TEXT,
        "worker": TEXT,
        "queue": TEXT,
        "state": st.sampled_from(jobtrail.STATES),
        "attempt": INT,
        "occurred_at": LONG,
        "source": TEXT,
        "max_attempts": INT,
        "enqueued_at": LONG,
        "scheduled_at": LONG,
        "started_at": LONG,
        "parent_job_id": TEXT,
        "root_job_id": TEXT,
        "depth": INT,
        "depends_on": st.lists(TEXT, max_size=3),
        "expected_children": st.dictionaries(TEXT, st.integers(min_value=0, max_value=2**31 - 1), max_size=3),
        "external_id": TEXT,
        "error": st.none() | ERROR,
        "release": TEXT,
        "executor": TEXT,
        "args": TEXT,
        "meta": st.dictionaries(TEXT, TEXT, max_size=3),
    }
)
# Fields that most events do not have; with them the encoder takes its slow path.
RARE: dict[str, Any] = {"args": "", "meta": {}, "expected_children": {}, "depends_on": [], "error": None}


@given(EVENT)
def test_encoded_event_decodes_to_the_same_values(event: dict[str, Any]) -> None:
    assert decode(encode(event)[1]) == event


def bytes_of_fastavro(event: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, CONTRACT, event)
    return buffer.getvalue()


@given(EVENT)
def test_bytes_equal_those_that_fastavro_writes_by_the_contract(event: dict[str, Any]) -> None:
    assert encode(event)[1] == bytes_of_fastavro(event)


@given(EVENT, st.sets(st.sampled_from(sorted(jobtrail.JobEvent.__optional_keys__))))
def test_bytes_equal_those_of_fastavro_with_any_rare_fields_missing(
    event: dict[str, Any], left: set[str]
) -> None:
    event = {name: value for name, value in {**event, **RARE}.items() if name not in left}
    assert encode(event) == (event["job_id"], bytes_of_fastavro(event))


@given(LONG)
def test_any_number_is_written_as_by_fastavro(number: int) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, {"type": "long"}, number)
    assert long(number) == moment(number) == NUMBERS[number] == buffer.getvalue()


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_number_beyond_64_bits_is_refused(number: int) -> None:
    with pytest.raises(OverflowError):
        moment(number)


def test_remembered_texts_are_bounded() -> None:
    texts = Texts(limit_bytes=500)
    for number in range(10_000):
        assert texts[f"job-{number}"] == texts[f"job-{number}"]
    assert 0 < len(texts) <= 2_048
    assert texts["x" * 300][2:] == b"x" * 300
    assert "x" * 300 not in texts


def test_value_equal_to_a_remembered_text_is_still_fitted() -> None:
    """A member of a string enum equals its value, and a job may pass any object as a field."""

    class Queue(StrEnum):
        CPU = "cpu"

    class Liar(str):
        def encode(self, *_: object) -> bytes:
            return b"lie"

    base = {
        "namespace": "n",
        "job_id": "1",
        "worker": "w",
        "state": "completed",
        "attempt": 1,
        "occurred_at": 1,
    }
    for queue, wanted in (
        ("cpu", "cpu"),
        (Queue.CPU, "cpu"),
        (Liar("truth"), "truth"),
        (1, "1"),
        (True, "True"),
        (None, ""),
        ([], "[]"),
    ):
        assert decode(encode({**base, "queue": queue})[1])["queue"] == wanted


def test_missing_fields_get_the_defaults_of_the_contract() -> None:
    event = decode(
        encode(
            {
                "namespace": "n",
                "job_id": "j",
                "worker": "w",
                "queue": "",
                "state": "completed",
                "attempt": 1,
                "occurred_at": 1,
            }
        )[1]
    )
    assert (event["depth"], event["error"], event["source"], event["meta"]) == (-1, None, "", {})


ANY_TEXT = st.text(st.characters(codec=None), max_size=2000) | st.sampled_from(["a\0b", "ż" * 150, "x" * 501])


@given(ANY_TEXT, st.booleans())
def test_any_text_is_repaired_and_cut(text: str, has_rare_fields: bool) -> None:
    event: dict[str, Any] = {"state": "discarded", "attempt": 1, "occurred_at": 1}
    names = ("namespace", "job_id", "worker", "queue", "source", "external_id", "args")
    event |= dict.fromkeys(names, text)
    if has_rare_fields:
        event |= {"error": {"message": text, "stacktrace": text}, "meta": {text: text}}
    job_id, payload = encode(event)
    found = decode(payload)
    for name, limit in (
        ("namespace", 200),
        ("job_id", 500),
        ("worker", 300),
        ("queue", 200),
        ("source", 300),
        ("args", 8_192),
    ):
        assert len(found[name].encode()) <= limit
        assert "\0" not in found[name]
    assert found["job_id"] == job_id


def test_rare_fields_are_cut_to_their_limits() -> None:
    base = {"namespace": "n", "job_id": "1", "worker": "w", "queue": "q", "state": "discarded", "attempt": 1}
    base["occurred_at"] = 1
    assert len(decode(encode({**base, "error": {"category": "c" * 150}})[1])["error"]["category"]) == 100
    meta = {str(number): "m" for number in range(60)}
    assert len(decode(encode({**base, "meta": meta})[1])["meta"]) == 50
    assert decode(encode({**base, "expected_children": {"w": 2**31}})[1])["expected_children"] == {
        "w": 2**31 - 1
    }
    assert decode(encode({**base, "depends_on": [7]})[1])["depends_on"] == ["7"]


@pytest.mark.parametrize("broken", [{"attempt": "x"}, {"state": "lost"}, {"occurred_at": 2**70}, {}])
def test_record_that_is_not_an_event_is_refused(broken: dict[str, Any]) -> None:
    event = {"namespace": "n", "job_id": "j", "worker": "w", "queue": "", "state": "completed"}
    with pytest.raises((ValueError, TypeError, KeyError, OverflowError)):
        encode({**event, **broken})


def test_contract_in_the_sdk_is_the_contract_file() -> None:
    text = Path(generate.SOURCE).read_text()
    assert text == jobtrail.SCHEMA_TEXT
    assert hashlib.sha256(text.encode()).hexdigest() == jobtrail.SCHEMA_SHA256
    assert generate.generate(text) == generate.TARGET.read_text()
    assert generate_record(json.loads(text)) == generate.RECORD_TARGET.read_text()
    assert generate.main(["--check"]) == 0


def test_generated_contract_follows_the_schema() -> None:
    schema = json.loads(generate.SOURCE.read_text())
    schema["fields"][4]["type"]["symbols"].append("paused")
    schema["fields"].append({"name": "tries", "type": {"type": "array", "items": "int"}, "default": []})
    made = generate.generate(json.dumps(schema, ensure_ascii=True).replace("\\u", "u") + "\n")
    assert '    "paused",\n' in made
    assert "    tries: NotRequired[list[int]]\n" in made
    with pytest.raises(ValueError, match="backslash"):
        generate.generate('{"doc": "a\\b"}\n')


def test_generated_writer_follows_the_schema() -> None:
    """Other fields in another order are written by the code generated for them, with no line of the SDK changed."""
    schema = json.loads(generate.SOURCE.read_text())
    schema["fields"].append({"name": "tries", "type": {"type": "array", "items": "int"}, "default": []})
    schema["fields"].append({"name": "zone", "type": "string", "default": "UTC"})
    schema["fields"].reverse()
    next(field for field in schema["fields"] if field["name"] == "state")["type"]["symbols"].append("paused")
    made: dict[str, Any] = {}
    exec(generate_record(schema), made)
    event = {"namespace": "n", "job_id": "1", "worker": "w", "queue": "q", "state": "paused", "attempt": 1}
    event |= {"occurred_at": 5, "tries": [1, -1, 300]}
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), event)
    assert made["job_event"](event, Texts(1_000)) == buffer.getvalue()


@pytest.mark.parametrize("kind", ["double", "JobState", ["string", "null"], {"type": "fixed", "size": 2}])
def test_field_type_without_a_writer_is_refused_when_the_code_is_generated(kind: Any) -> None:
    schema = json.loads(generate.SOURCE.read_text())
    schema["fields"].append({"name": "strange", "type": kind})
    with pytest.raises(ValueError, match=r"strange: cannot generate code for .*generate_record\.py"):
        generate_record(schema)


def test_job_id_of_a_str_subclass_becomes_plain_text() -> None:
    """The stored and sent key is a plain str, which runs no code of the job."""

    class Id(str):
        pass

    event = {
        "namespace": "n",
        "job_id": "7",
        "worker": "W",
        "queue": "q",
        "state": "available",
        "attempt": 1,
        "occurred_at": 1_790_000_000_000_000,
    }
    encode(event)  # by now the text is remembered
    assert type(encode({**event, "job_id": Id("7")})[0]) is str
