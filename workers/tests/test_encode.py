"""What the SDK encodes, anybody decodes by the contract's file; and the contract inside the SDK is that file."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtrail
from jobtrail._encode import encode
from schemas import generate
from workers.tests.reading import CONTRACT, decode

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
LONG = st.integers(min_value=-(2**62), max_value=2**62)
INT = st.integers(min_value=-1, max_value=2**31 - 1)
ERROR = st.fixed_dictionaries(
    dict.fromkeys(("category", "type", "message", "stacktrace", "origin", "fingerprint"), TEXT)
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


@given(EVENT)
def test_encoded_event_is_decoded_to_the_same(event: dict[str, Any]) -> None:
    assert decode(encode(event)[1]) == event


@given(EVENT)
def test_bytes_are_those_of_fastavro_with_the_file_as_it_is(event: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, CONTRACT, event)
    assert encode(event)[1] == buffer.getvalue()


def test_what_an_event_does_not_say_has_the_default_of_the_contract() -> None:
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


@given(st.text(st.characters(codec=None), max_size=2000))
def test_any_text_is_repaired_and_cut(text: str) -> None:
    base = {"state": "discarded", "attempt": 1, "occurred_at": 1}
    texts = dict.fromkeys(("namespace", "job_id", "worker", "queue", "source", "external_id", "args"), text)
    event = decode(
        encode({**base, **texts, "error": {"message": text, "stacktrace": text}, "meta": {text: text}})[1]
    )
    for name, limit in (
        ("namespace", 200),
        ("job_id", 500),
        ("worker", 300),
        ("queue", 200),
        ("source", 300),
    ):
        assert len(event[name].encode()) <= limit
        assert "\0" not in event[name]


@pytest.mark.parametrize("broken", [{"attempt": "x"}, {"state": "lost"}, {"occurred_at": 2**70}, {}])
def test_what_is_no_event_is_refused(broken: dict[str, Any]) -> None:
    event = {"namespace": "n", "job_id": "j", "worker": "w", "queue": "", "state": "completed"}
    with pytest.raises((ValueError, TypeError, KeyError, OverflowError)):
        encode({**event, **broken})


def test_contract_in_the_sdk_is_the_file_of_the_contract() -> None:
    text = Path(generate.SOURCE).read_text()
    assert text == jobtrail.SCHEMA_TEXT
    assert hashlib.sha256(text.encode()).hexdigest() == jobtrail.SCHEMA_SHA256
    assert generate.generate(text) == generate.TARGET.read_text()
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
