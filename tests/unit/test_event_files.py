"""`jobtrail events validate`: it detects the format of a file by its content, and names a format that it cannot read."""

import bz2
import gzip
import io
import json
import lzma
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fastavro
import pytest

from cli.main import run
from schemas.contract import SCHEMA
from testing.topics import EVENT as LEAST
from testing.topics import encode

Validate = Callable[..., tuple[int, str]]

FILES = Path(__file__).parents[1] / "event_files"
EVENT: dict[str, Any] = {**LEAST, "root_job_id": LEAST["job_id"], "depth": 0}
BAD: dict[str, Any] = {**EVENT, "state": "complete"}


@pytest.fixture
def validate(capsys: pytest.CaptureFixture[str]) -> Validate:
    def called(*arguments: str) -> tuple[int, str]:
        status = run(["events", "validate", *arguments])
        return status, capsys.readouterr().out

    return called


def test_files_of_every_kind_are_checked(validate: Validate, tmp_path: Path) -> None:
    """The format of a file is detected by its content, not by its name."""
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
        report = json.loads(out)
        assert (status, [problem["place"] for problem in report["problems"]]) == (1, places), name
    (tmp_path / "good").write_text(json.dumps(EVENT))
    assert validate(str(tmp_path / "good")) == (0, "1 event: 1 valid, 0 not\n")


def test_advice_is_not_a_failure(validate: Validate, tmp_path: Path) -> None:
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


def test_values_from_a_file_are_escaped(validate: Validate, tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_text(json.dumps({**EVENT, "worker": "\x1b[31m\u202e" + "x" * 400, "\x1b[2J": 1}))
    for arguments in ([], ["--json"]):
        _, out = validate(str(path), *arguments)
        assert all(line.isprintable() for line in out.splitlines())


def container(*events: dict[str, Any], codec: str = "null", schema: dict[str, Any] = SCHEMA) -> bytes:
    stream = io.BytesIO()
    fastavro.writer(stream, schema, events, codec=codec)
    return stream.getvalue()


ENCODINGS = {
    "UTF-8": lambda text: text.encode(),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "UTF-16, little end first, with a mark": lambda text: b"\xff\xfe" + text.encode("utf-16-le"),
    "UTF-16, big end first, with a mark": lambda text: b"\xfe\xff" + text.encode("utf-16-be"),
    "UTF-16, little end first": lambda text: text.encode("utf-16-le"),
    "UTF-16, big end first": lambda text: text.encode("utf-16-be"),
    "UTF-32 with a mark": lambda text: text.encode("utf-32"),
    "UTF-32, big end first, with a mark": lambda text: b"\0\0\xfe\xff" + text.encode("utf-32-be"),
    "UTF-32, little end first": lambda text: text.encode("utf-32-le"),
    "UTF-32, big end first": lambda text: text.encode("utf-32-be"),
}
WORDS = {**EVENT, "worker": "Żółw 🎬"}
LAYOUTS = {
    "one object": (json.dumps(WORDS, ensure_ascii=False), 1),
    "one object over many lines": (json.dumps(WORDS, ensure_ascii=False, indent=2) + "\n", 1),
    "a list": (json.dumps([WORDS, WORDS], ensure_ascii=False), 2),
    "a list over many lines": (json.dumps([WORDS, WORDS], ensure_ascii=False, indent=2), 2),
    "one on each line": (2 * (json.dumps(WORDS, ensure_ascii=False) + "\n"), 2),
    "the last line without an end": ("\n".join(2 * [json.dumps(WORDS, ensure_ascii=False)]), 2),
    "lines that end as on Windows": (2 * (json.dumps(WORDS, ensure_ascii=False) + "\r\n"), 2),
    "objects over many lines after each other": (2 * (json.dumps(WORDS, ensure_ascii=False, indent=2) + "\n"), 2),
    "a mark before each (RFC 7464)": (2 * ("\x1e" + json.dumps(WORDS, ensure_ascii=False) + "\n"), 2),
    "empty lines before, between and after": (2 * ("\n \n" + json.dumps(WORDS, ensure_ascii=False) + "\n\t\n"), 2),
    "files put together, each with a mark": ("\n\ufeff".join(2 * [json.dumps(WORDS, ensure_ascii=False)]), 2),
    "a list on each line": (2 * (json.dumps([WORDS, WORDS], ensure_ascii=False) + "\n"), 4),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_is_read_in_every_layout_and_encoding(
    validate: Validate, tmp_path: Path, encoding: str, layout: str
) -> None:
    text, events = LAYOUTS[layout]
    (tmp_path / "events").write_bytes(ENCODINGS[encoding](text))
    plural = "event" if events == 1 else "events"
    assert validate(str(tmp_path / "events")) == (0, f"{events} {plural}: {events} valid, 0 not\n")


@pytest.mark.parametrize("name", ["bom.json", "utf16.json", "pretty.json"])
def test_files_as_editors_on_windows_write_them_are_read(validate: Validate, name: str) -> None:
    status, out = validate(str(FILES / name))
    assert (status, out.endswith(" 0 not\n")) == (0, True)


@pytest.mark.parametrize(
    "packed", [gzip.compress, bz2.compress, lzma.compress, lambda b: gzip.compress(b) * 2]
)
@pytest.mark.parametrize(
    "content", [json.dumps(EVENT).encode() + b"\n", container(EVENT)], ids=["json", "container"]
)
def test_compressed_files_are_unpacked(
    validate: Validate, tmp_path: Path, packed: Callable[[bytes], bytes], content: bytes
) -> None:
    """They may be compressed twice, or in several parts."""
    (tmp_path / "events").write_bytes(packed(content))
    if content.startswith(b"{"):
        assert validate(str(tmp_path / "events"))[0] == 0
    (tmp_path / "events").write_bytes(gzip.compress(bz2.compress(content)))
    assert validate(str(tmp_path / "events")) == (0, "1 event: 1 valid, 0 not\n")


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz"])
def test_containers_of_every_codec_that_python_has_are_read(
    validate: Validate, tmp_path: Path, codec: str
) -> None:
    path = tmp_path / "events"
    path.write_bytes(container(*[EVENT] * 3, {**EVENT, "attempt": 0}, codec=codec))
    status, out = validate(str(path))
    assert (status, out.splitlines()[-1]) == (1, "4 events: 3 valid, 1 not")
    assert "events: event 4: attempt" in out


def with_codec(codec: bytes) -> bytes:
    """Return a container whose header names this codec."""
    whole = container(EVENT)
    return whole.replace(b"\x14avro.codec\x08null", b"\x14avro.codec" + bytes([2 * len(codec)]) + codec)


UNREADABLE = {
    "a codec that is not read": (with_codec(b"snappy"), ["codec 'snappy'", "avro-tools recodec"]),
    "another codec that is not read": (with_codec(b"zstandard"), ["codec 'zstandard'", "deflate"]),
    "a codec that does not exist": (with_codec(b"brotli"), ["codec 'brotli'", "null, deflate, bzip2, xz"]),
    "zstandard": (b"\x28\xb5\x2f\xfd....", ["compressed by zstandard", "zstd -dc"]),
    "lz4": (b"\x04\x22\x4d\x18....", ["compressed by lz4", "lz4 -dc"]),
    "snappy": (b"\xff\x06\0\0sNaPpY....", ["compressed by snappy"]),
    "zip": (b"PK\x03\x04....", ["compressed by zip", "unzip -p"]),
    "truncated gzip": (
        gzip.compress(json.dumps(EVENT).encode())[:-9],
        ["compressed by gzip, and cut or damaged"],
    ),
    "damaged xz": (lzma.compress(b"{}" * 99)[:30] + b"x" * 60, ["compressed by xz, and cut or damaged"]),
    "nothing": (b"", ["is empty"]),
    "nothing but compressed": (gzip.compress(b""), ["holds no event"]),
    "blank lines": (b"\n \r\n", ["holds no event"]),
    "only a byte order mark": (b"\xef\xbb\xbf", ["holds no event"]),
    "an empty list": (b"[]", ["holds no event"]),
    "a container without events": (container(), ["holds no event"]),
    "a container of nothing": (b"Obj\x01garbage", ["its header is damaged"]),
    "JSON in Latin-1": (b'{"namespace":\n "\xff"}', ["begins as JSON in UTF-8, but line 2 is not"]),
    "truncated UTF-16": (b'\xff\xfe{\0"', ["begins as JSON in UTF-16"]),
}


@pytest.mark.parametrize(("content", "expected"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_ends_with_2_and_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes, expected: list[str]
) -> None:
    path = tmp_path / "events"
    path.write_bytes(content)
    assert run(["events", "validate", str(path)]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    message = " ".join(shown.err.split())
    assert "a defect of jobtrail" not in message
    assert [words for words in [str(path), *expected] if words not in message] == []


def test_the_snappy_container_of_a_java_program_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["events", "validate", str(FILES / "c_snappy.avro")]) == 2
    assert "codec 'snappy'" in capsys.readouterr().err


def test_a_directory_and_a_missing_file_are_named(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for path, expected in ((tmp_path, "is a directory"), (tmp_path / "nowhere", "No such file")):
        assert run(["events", "validate", str(path)]) == 2
        assert expected in capsys.readouterr().err


def framed(header: bytes) -> bytes:
    return header + encode(EVENT)


WIRE_FORMATS = {
    "Confluent's": (framed(b"\0" + struct.pack(">I", 42)), "Confluent's wire format (schema id 42)"),
    "Apicurio's": (
        framed(b"\0" + struct.pack(">Q", 2**33 + 7)),
        "Apicurio's wire format (schema id 8589934599)",
    ),
    "AWS Glue's": (framed(b"\x03\0" + bytes(range(16))), "AWS Glue's wire format"),
    "single-object encoding": (
        framed(b"\xc3\x01" + bytes(range(8))),
        "Avro's single-object encoding (schema fingerprint 0706050403020100)",
    ),
}


@pytest.mark.parametrize(("content", "name"), WIRE_FORMATS.values(), ids=WIRE_FORMATS)
def test_the_header_of_another_system_is_named_and_the_event_after_it_checked(
    validate: Validate, tmp_path: Path, content: bytes, name: str
) -> None:
    """On Pulsar it would be a dead letter, because there a message is only the datum."""
    path = tmp_path / "events"
    path.write_bytes(content)
    status, out = validate(str(path))
    assert (status, out.splitlines()[1:]) == (1, ["1 event: 0 valid, 1 not"])
    assert f"begins with the header of {name}" in out
    assert "(malformed)" in out
    path.write_bytes(content.replace(encode(EVENT), encode({**EVENT, "attempt": 0})))
    assert "attempt is 0" in validate(str(path))[1]


def test_confluents_header_is_named_before_an_event_of_another_schema_too(
    validate: Validate, tmp_path: Path
) -> None:
    (tmp_path / "events").write_bytes(b"\0\0\0\0\x07\x02x")
    assert "Confluent's wire format (schema id 7)" in validate(str(tmp_path / "events"))[1]


def test_an_event_without_a_namespace_is_not_mistaken_for_another_wire_format(
    validate: Validate, tmp_path: Path
) -> None:
    """Its first byte is 0 too."""
    (tmp_path / "events").write_bytes(encode({**EVENT, "namespace": ""}))
    out = validate(str(tmp_path / "events"))[1]
    assert "namespace is empty" in out
    assert "header" not in out


@pytest.mark.parametrize(("letters", "first"), [(5, "{"), (15, "["), (33, "Zh9")])
def test_an_event_whose_first_bytes_look_like_text_is_read_as_avro(
    validate: Validate, tmp_path: Path, letters: int, first: str
) -> None:
    """The length of a namespace may be the same byte as a line break, or as the first letter of bzip2."""
    path = tmp_path / "events"
    path.write_bytes(encode({**EVENT, "namespace": first.ljust(letters, "x")}))
    assert validate(str(path)) == (0, "1 event: 1 valid, 0 not\n")


def test_a_text_that_is_not_json_is_reported(validate: Validate, tmp_path: Path) -> None:
    (tmp_path / "events").write_text("namespace,job_id\nn,1\n")
    status, out = validate(str(tmp_path / "events"))
    assert (status, "is text, but not JSON" in out) == (1, True)


def test_after_a_line_that_is_not_json_the_next_events_are_checked(
    validate: Validate, tmp_path: Path
) -> None:
    """Some are objects over many lines; each problem is shown with its line."""
    good, bad = json.dumps(EVENT), json.dumps(BAD, indent=2)
    lines = [good, good[:-5], bad, "nonsense", good, '{"deep": ' + "[" * 100_000, good, good + " " + good]
    path = tmp_path / "events"
    path.write_text("\n".join(lines))
    report = json.loads(validate(str(path), "--json")[1])
    after = 3 + bad.count("\n") + 1
    assert [problem["place"] for problem in report["problems"]] == [
        "line 2",
        "line 3",
        f"line {after}",
        f"line {after + 2}",
    ]
    assert report["events"] == 9


def test_a_container_written_with_a_foreign_schema_is_named_by_the_difference(
    validate: Validate, tmp_path: Path
) -> None:
    other = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "string"}]}
    (tmp_path / "events").write_bytes(container({"id": "1"}, schema=other))
    status, out = validate(str(tmp_path / "events"))
    assert (status, "foreign_schema" in out) == (1, True)
    assert "expected a field JobEvent.namespace, which is required, got none" in out


def test_a_truncated_container_is_checked_as_far_as_it_goes(validate: Validate, tmp_path: Path) -> None:
    whole = container(*[EVENT] * 3)
    path = tmp_path / "events"
    for broken, valid in ((whole[:-8], 3), (whole[:-40], 2), (whole[:-16] + bytes(16), 3)):
        path.write_bytes(broken)
        status, out = validate(str(path))
        assert (status, out.splitlines()[-1]) == (
            1,
            f"{valid + 1} events: {valid} valid, 1 not",
        )
        assert "the file breaks off here" in out


def test_a_pipe_is_read_to_its_end(tmp_path: Path, validate: Validate) -> None:
    """A shell's `<(command)` makes such a pipe."""
    reading, writing = os.pipe()
    os.write(writing, json.dumps(EVENT).encode())
    os.close(writing)
    try:
        assert validate(f"/dev/fd/{reading}") == (0, "1 event: 1 valid, 0 not\n")
    finally:
        os.close(reading)
