"""Events checked before they are published: what is wrong, in which field, and the cure."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from cli.main import run
from schemas.contract import EVENT_BYTES, SCHEMA, SCHEMA_TEXT
from schemas.decode import decoder
from schemas.look import look
from schemas.validate import problems_of_json, problems_of_payload
from testing.topics import EVENT, encode

Validate = Callable[..., tuple[int, str]]


def found(**fields: Any) -> list[tuple[str, str]]:
    """(reason, field) of everything wrong with an event; a field of ``...`` is left out."""
    event = {name: value for name, value in {**EVENT, **fields}.items() if value is not ...}
    return [(problem.reason, problem.field) for problem in problems_of_json(event)]


def test_a_valid_event_has_no_problem() -> None:
    assert found() == []
    assert (
        found(occurred_at="2026-11-22T20:51:03.5+01:00", started_at=None, error=None, meta={"k": "v"}) == []
    )


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"worker": ...}, ("missing_field", "worker")),
        ({"worker": ""}, ("missing_field", "worker")),
        ({"worker": None}, ("malformed", "worker")),
        ({"jobid": "1"}, ("malformed", "jobid")),
        ({"state": "complete"}, ("unknown_state", "state")),
        ({"attempt": "1"}, ("malformed", "attempt")),
        ({"attempt": True}, ("malformed", "attempt")),
        ({"attempt": 1.0}, ("malformed", "attempt")),
        ({"attempt": 2**31}, ("out_of_range", "attempt")),
        ({"attempt": 0}, ("out_of_range", "attempt")),
        ({"occurred_at": "yesterday"}, ("malformed", "occurred_at")),
        ({"occurred_at": "2026-11-22T20:51:03"}, ("malformed", "occurred_at")),
        ({"occurred_at": None}, ("missing_field", "occurred_at")),
        ({"occurred_at": 1_790_000_000}, ("out_of_range", "occurred_at")),
        ({"occurred_at": 2**70}, ("out_of_range", "occurred_at")),
        ({"job_id": "x" * 501}, ("too_long", "job_id")),
        ({"external_id": "\0"}, ("nul_in_text", "external_id")),
        ({"external_id": "\ud800"}, ("malformed", "external_id")),
        ({"depends_on": "7"}, ("malformed", "depends_on")),
        ({"depends_on": [7]}, ("malformed", "depends_on[0]")),
        ({"expected_children": {"W": "3"}}, ("malformed", "expected_children['W']")),
        ({"meta": {"k": 1}}, ("malformed", "meta['k']")),
        ({"meta": []}, ("malformed", "meta")),
        ({"error": "boom"}, ("malformed", "error")),
        ({"error": {"mesage": "boom"}}, ("malformed", "error.mesage")),
        ({"args": "x" * EVENT_BYTES}, ("too_large", "")),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_by_reason_and_field(
    fields: dict[str, Any], expected: tuple[str, str]
) -> None:
    assert found(**fields) == [expected]


def test_all_that_is_wrong_is_said_at_once_with_the_cure() -> None:
    problems = problems_of_json({"namespace": "n", "jobid": "1", "state": "complete", "attempt": "1"})
    said = {problem.field: problem.says for problem in problems}
    assert said["jobid"] == "there is no such field: did you mean job_id?"
    assert said["state"] == "did you mean completed?"
    assert {"job_id", "worker", "queue", "occurred_at"} <= set(said)


@pytest.mark.parametrize("value", [[], "x", 7, None, True])
def test_what_is_no_object_is_no_event(value: object) -> None:
    (problem,) = problems_of_json(value)
    assert problem.reason == "malformed"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"state": "discarded"}, "error"),
        ({"parent_job_id": "7"}, "root_job_id"),
        ({"depth": 0, "root_job_id": "7"}, "root_job_id"),
        ({"attempt": 4, "max_attempts": 3}, "attempt"),
    ],
)
def test_advice_is_given_on_events_that_are_taken_all_the_same(fields: dict[str, Any], field: str) -> None:
    assert found(**fields) == [("advice", field)]
    payload = encode({**EVENT, **fields})
    (problem,) = problems_of_payload(payload, decoder(SCHEMA_TEXT))
    assert (problem.reason, problem.field) == ("advice", field)


def test_an_encoded_event_is_judged_as_a_consumer_judges_it() -> None:
    decode = decoder(SCHEMA_TEXT)
    assert problems_of_payload(encode(EVENT), decode) == []
    for payload, reason, field in (
        (encode(EVENT)[:-1], "malformed", ""),
        (encode(EVENT) + b"!", "trailing_bytes", ""),
        (encode({**EVENT, "attempt": 0}), "out_of_range", "attempt"),
        (b"x" * (EVENT_BYTES + 1), "too_large", ""),
    ):
        (problem,) = problems_of_payload(payload, decode)
        assert (problem.reason, problem.field) == (reason, field)


def test_a_payload_is_shown_by_a_schema_that_reads_it() -> None:
    looked = look(encode({**EVENT, "attempt": -3}) + b"!!")
    assert looked is not None
    assert (looked.event["attempt"], looked.bytes_left) == (-3, 2)
    assert look(b"\x07") is None


@pytest.fixture
def validate(capsys: pytest.CaptureFixture[str]) -> Validate:
    def called(*arguments: str) -> tuple[int, str]:
        status = run(["events", "validate", *arguments])
        return status, capsys.readouterr().out

    return called


def test_files_of_every_kind_are_checked(validate: Validate, tmp_path: Path) -> None:
    """What a file is, is told by its content."""
    bad = {**EVENT, "state": "complete"}
    container = io.BytesIO()
    fastavro.writer(container, SCHEMA, [EVENT, {**EVENT, "attempt": 0}], codec="deflate")
    for name, content, places in (
        ("one.json", json.dumps(bad, indent=1).encode(), [""]),
        ("list", json.dumps([EVENT, bad]).encode(), ["event 2"]),
        ("lines", f"\n{json.dumps(EVENT)}\n{json.dumps(bad)}\n{{\n".encode(), ["line 3", "line 4"]),
        ("datum", encode(EVENT)[:-1], [""]),
        ("container", container.getvalue(), ["event 2"]),
        ("container cut", container.getvalue()[:-40], ["event 1"]),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        status, out = validate(str(path), "--json")
        said = json.loads(out)
        assert (status, [problem["place"] for problem in said["problems"]]) == (1, places), name
    (tmp_path / "good").write_text(json.dumps(EVENT))
    assert validate(str(tmp_path / "good")) == (0, "1 event: 1 valid, 0 not\n")


def test_advice_alone_is_no_failure(validate: Validate, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(json.dumps({**EVENT, "state": "discarded"}))
    status, out = validate(str(path))
    assert (status, out.splitlines()[-1]) == (0, "1 event: 1 valid, 0 not; advice on 1 of the valid ones")


def test_standard_input_and_another_schema(
    validate: Validate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "host", "type": "string", "default": ""}]}
    path = tmp_path / "schema.avsc"
    path.write_text(json.dumps(schema))
    payload = encode({**EVENT, "host": "h"}, schema)
    for arguments, expected in (([], 1), (["--schema-file", str(path)], 0)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(payload)))
        assert validate("-", *arguments)[0] == expected


def test_what_is_in_a_file_is_escaped(validate: Validate, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(json.dumps({**EVENT, "worker": "\x1b[31m\u202e" + "x" * 400, "\x1b[2J": 1}))
    for arguments in ([], ["--json"]):
        _, out = validate(str(path), *arguments)
        assert all(line.isprintable() for line in out.splitlines())


@pytest.mark.parametrize("content", [None, b"", b'{"namespace": "\xff"}', b"Obj\x01garbage"])
def test_a_file_that_cannot_be_read_ends_with_2(
    validate: Validate, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "events"
    if content is not None:
        path.write_bytes(content)
    assert validate(str(path)) == (2, "")
