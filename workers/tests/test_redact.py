"""Secrets never leave the process: not in messages, traces, arguments or meta, in any form."""

import json
import logging
import time
from collections import OrderedDict, UserDict, namedtuple
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr

import jobtrail
from jobtrail._broker import explain
from jobtrail._classify import error_of
from jobtrail._config import Config
from jobtrail._encode import encode
from jobtrail._redact import args_json
from jobtrail._redaction import REDACTED, Redactor, redact
from jobtrail._text import describe
from testing.secret_forms import FORMS, HARMLESS, NAMES, OTHER_NAMES, Form
from workers.tests.reading import Topic, decode, only

RULES = Redactor()
FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.what)
EVENT: dict[str, Any] = {
    "namespace": "n",
    "job_id": "1",
    "worker": "W",
    "queue": "q",
    "state": "discarded",
    "attempt": 1,
    "occurred_at": 5,
}


def published(**fields: Any) -> dict[str, Any]:
    """Return an event with these fields as it is sent."""
    return decode(encode({**EVENT, **fields})[1])


def assert_redacted(form: Form, shown: str) -> None:
    assert [secret for secret in form.secrets if secret in shown] == []
    assert [words for words in form.survive if words not in shown] == []


@FORM
def test_message_of_an_exception_is_redacted(form: Form) -> None:
    error = published(error=error_of(ValueError(form.text), {}, ()))["error"]
    assert_redacted(form, error["message"])
    assert_redacted(form, error["stacktrace"])


@FORM
def test_message_and_trace_from_a_bridge_are_redacted(form: Form) -> None:
    error = published(error={"message": form.text, "stacktrace": form.text})["error"]
    assert_redacted(form, error["message"])
    assert_redacted(form, error["stacktrace"])


@FORM
def test_argument_and_meta_of_any_form_are_redacted(form: Form) -> None:
    (argument,) = json.loads(args_json({"text": form.text}, RULES)).values()
    assert_redacted(form, argument)
    assert_redacted(form, published(meta={"text": form.text})["meta"]["text"])


@FORM
def test_notes_and_causes_are_redacted(form: Form) -> None:
    cause = ValueError(form.text)
    cause.add_note(form.text)
    failure = RuntimeError("failed")
    failure.__cause__ = cause
    assert_redacted(form, published(error=error_of(failure, {}, ()))["error"]["stacktrace"])


@pytest.mark.parametrize("text", HARMLESS)
def test_text_without_a_secret_is_sent_unchanged(text: str) -> None:
    found = published(error=error_of(ValueError(text), {}, ()), meta={"text": text})
    assert found["error"]["message"] == text
    assert found["error"]["stacktrace"] == f"ValueError: {text}\n"
    assert found["meta"]["text"] == text
    assert json.loads(args_json([text], RULES)) == [text]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [0, 1, 5])
def test_argument_with_the_name_of_a_secret_is_redacted_at_any_depth(name: str, depth: int) -> None:
    value: Any = {name: "swordfish", "kept": 1}
    for level in range(depth):
        value = [value] if level % 2 else {"inner": value}
    text = args_json(value, RULES)
    assert "swordfish" not in text
    assert REDACTED in text
    assert '"kept": 1' in text


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_argument_with_another_name_is_recorded(name: str) -> None:
    assert json.loads(args_json({name: "swordfish"}, RULES)) == {name: "swordfish"}


@dataclass
class Account:
    user: str
    password: str
    pin: str = field(default="4711", repr=False)


class Login(NamedTuple):
    user: str
    api_key: str


Plain = namedtuple("Plain", ["user", "auth"])  # as in code without types


class Model(BaseModel):
    model_config = ConfigDict(extra="allow")

    user: str
    token: SecretStr = SecretStr("hunter2")
    jwt: str = "hunter2"
    nested: Account = Account("bob", "hunter2")
    shadow: str = Field("hunter2", repr=False)


class Attribute(NamedTuple):
    name: str
    repr: bool


class OfAttrs:
    """As attrs makes it."""

    __attrs_attrs__ = (Attribute("user", True), Attribute("secret", True), Attribute("hidden", False))

    def __init__(self) -> None:
        self.user, self.secret, self.hidden = "bob", "hunter2", "hunter2"


class OfMsgspec:
    """As msgspec makes it."""

    __struct_fields__ = ("user", "credentials")
    user = "bob"
    credentials = ("bob", "hunter2")


class WithRepr:
    def __repr__(self) -> str:
        return "WithRepr(user='bob', password='hunter2')"


ARGUMENTS: Mapping[str, Any] = {
    "dataclass": Account("bob", "hunter2", "hunter2"),
    "named tuple": Login("bob", "hunter2"),
    "plain named tuple": Plain("bob", ("x", "hunter2")),
    "model of pydantic": Model(user="bob", access_token="hunter2"),  # type: ignore[call-arg]  # an extra field
    "object of attrs": OfAttrs(),
    "object of msgspec": OfMsgspec(),
    "object with a repr": WithRepr(),
    "namespace": SimpleNamespace(user="bob", password="hunter2"),
    "mapping": OrderedDict(user="bob", auth="hunter2"),
    "mapping of one's own": UserDict({"user": "bob", "jwt": "hunter2"}),
    "bytes as names": {b"user": "bob", b"password": "hunter2"},
    "JSON": '{"user": "bob", "password": "hunter2"}',
    "JSON in JSON": {"user": "bob", "body": json.dumps({"x": json.dumps({"token": "hunter2"})})},
    "header pairs": [("user", "bob"), ("Authorization", "Bearer hunter2")],
    "header pairs in lists": [["user", "bob"], ["x-api-key", "hunter2"]],
    "header pairs of bytes": [(b"user", "bob"), (b"cookie", b"hunter2")],
    "a header": {"user": "bob", "header": ("X-Auth-Token", "hunter2")},
    "names and values": {"user": "bob", "env": [{"name": "DB_PASSWORD", "value": "hunter2"}]},
    "auth": {"user": "bob", "auth": ("bob", "hunter2")},
    "jwt": {"user": "bob", "jwt": "hunter2"},
    "a command line": {"user": "bob", "command": ["tool", "--password", "hunter2", "--token", "hunter2"]},
    "curl": {"user": "bob", "command": ["curl", "-u", "bob:hunter2", "https://h.example"]},
    "mysql": {"user": "bob", "command": ["/usr/bin/mysqldump", "-uroot", "-phunter2", "films"]},
    "a set": {"user": "bob", "set": {"password=hunter2"}},
    "bytes": {"user": "bob", "raw": b"hunter2", "password": b"hunter2"},
    "a number": {"user": "bob", "password": 471142},
    "a list of secrets": {"user": "bob", "tokens": ["hunter2", "hunter3"]},
    "a URL": {"user": "bob", "url": "https://bob:hun/ter2@h.example/x?api_key=hunter2"},
}


@pytest.mark.parametrize("value", ARGUMENTS.values(), ids=ARGUMENTS)
def test_argument_of_any_kind_is_redacted(value: object) -> None:
    text = args_json(value, RULES)
    assert "hunter" not in text
    assert "ter2" not in text
    assert "471142" not in text
    assert "bob" in text
    json.loads(text)


def test_object_is_recorded_by_its_fields() -> None:
    assert json.loads(args_json([Account("bob", "hunter2"), Login("bob", "hunter2")], RULES)) == [
        {"user": "bob", "password": REDACTED, "pin": REDACTED},
        {"user": "bob", "api_key": REDACTED},
    ]


def test_object_that_contains_itself_is_recorded() -> None:
    account = Account("bob", "hunter2")
    account.user = account  # type: ignore[assignment]  # a careless program
    text = args_json(account, RULES)
    assert "[too deep]" in text
    assert "hunter2" not in text


def test_list_of_two_names_is_not_mistaken_for_a_header() -> None:
    assert json.loads(args_json({"fields": ["password", "email"]}, RULES)) == {
        "fields": ["password", "email"]
    }


def test_secret_is_redacted_before_a_limit_cuts_it() -> None:
    """Half of a secret would not be recognised."""
    for length in range(4_050, 4_100):
        error = published(error=error_of(ValueError("x" * length + " amqp://app:hunter2@mq"), {}, ()))[
            "error"
        ]
        assert "hun" not in error["message"] + error["stacktrace"]
    for length in range(8_150, 8_200):
        assert "hun" not in args_json("x" * length + " amqp://app:hunter2@mq", RULES)
    trace = "amqp://app:hunter2@mq x\n" * 100_000
    assert "hun" not in published(error={"stacktrace": trace})["error"]["stacktrace"]


def test_lines_of_code_stay_readable_in_a_trace_without_their_secrets() -> None:
    def connect(password: str, token: str = "") -> None:
        raise ValueError(f"{len(password)}{token}")

    def fail() -> None:
        password = str(4711)
        connect(password=password, token="hunter2")

    with pytest.raises(ValueError) as raised:
        fail()
    trace = published(error=error_of(raised.value, {}, ()))["error"]["stacktrace"]
    assert f'connect(password=password, token="{REDACTED}")' in trace
    assert 'raise ValueError(f"{len(password)}{token}")' in trace


def test_addresses_in_names_have_no_password_and_job_ids_are_unchanged() -> None:
    found = published(
        job_id="https://x/?token=hunter2",
        external_id="https://bob:hunter2@h.example/4711",
        source="https://feed.example/?api_key=hunter2&page=1",
    )
    assert found["job_id"] == "https://x/?token=hunter2"
    assert found["external_id"] == f"https://bob:{REDACTED}@h.example/4711"
    assert found["source"] == f"https://feed.example/?api_key={REDACTED}&page=1"


def test_nothing_that_a_job_sends_contains_its_secrets(events: Topic) -> None:
    def work(password: str, *, options: object) -> None:
        raise ConnectionError(f"cannot reach amqp://app:{password}@mq, {options}")

    decorated = jobtrail.job("W", args=True, meta=lambda *_, **__: {"token": "hunter2", "x": "y"})(work)
    with pytest.raises(ConnectionError):
        decorated("hunter2", options={"apiKey": "hunter2", "page": 3})
    with jobtrail.job("Said") as job:
        job.discard("gone", "404 for https://h.example/?access_token=hunter2")
    jobtrail.event(job_id="1", worker="Given", state="completed", args='{"password": "hunter2", "page": 3}')
    found = events.read()
    assert "hunter2" not in repr(found)
    assert only(found, worker="Said", state="discarded")["error"]["message"].endswith(
        f"?access_token={REDACTED}"
    )
    assert json.loads(only(found, worker="Given")["args"]) == {"password": REDACTED, "page": 3}
    assert sum("[redacted]" in repr(event) for event in found) >= 4


def test_nothing_in_the_spool_contains_secrets(unsent: None, spool_directory: Path) -> None:
    jobtrail.configure(pulsar_url="pulsar://app:hunter2@127.0.0.1:1", spool=True, spool_after_seconds=0)
    with pytest.raises(ValueError, match="x"), jobtrail.job("W", args={"password": "hunter2"}):
        raise ValueError("x https://app:hunter2@h")
    assert jobtrail.shutdown(5)
    (segment,) = spool_directory.glob("*.segment")
    assert b"hunter2" not in segment.read_bytes()
    assert segment.stat().st_mode & 0o077 == 0


def test_configured_names_are_redacted_everywhere(events: Topic) -> None:
    jobtrail.configure(namespace="tests", pulsar_url=events.url, topic=events.name, redact_keys=("pesel",))
    with (
        pytest.raises(ValueError, match="x"),
        jobtrail.job("W", args={"userPesel": "0207"}, meta={"pesel": "0207"}),
    ):
        raise ValueError("x pesel=0207 y")
    found = events.read()
    assert "0207" not in repr(found)
    assert only(found, state="discarded")["error"]["message"] == f"x pesel={REDACTED} y"


def test_errors_and_logs_of_the_sdk_show_no_secrets(unsent: None, caplog: pytest.LogCaptureFixture) -> None:
    class Unusable:
        def __iter__(self) -> Any:
            raise RuntimeError("cannot reach amqp://app:hunter2@mq")

    with jobtrail.job("W", depends_on=cast(Any, Unusable())):
        pass
    jobtrail.event(job_id="1", worker="W", state="completed", meta="password=hunter2")
    with caplog.at_level(logging.WARNING, "jobtrail"):
        jobtrail._runtime.counts().report()
    assert "cannot reach amqp://app:[redacted]@mq" in caplog.text
    assert "meta is 'password=[redacted]'" in caplog.text
    assert "hunter2" not in caplog.text
    with pytest.raises(jobtrail.InvalidEvent) as raised:
        jobtrail.event(strict=True, job_id="1", worker="W", state="x", queue={"token": "hunter2"})
    assert "hunter2" not in str(raised.value)
    assert "hunter2" not in describe(OSError("redis://:hunter2@cache"))


@pytest.mark.parametrize(
    "setting",
    [
        {"pulsar_url": "http://us:hun/ter2@127.0.0.1"},
        {"pulsar_token_file": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.hunter2hunter2"},
        {"topic": "https://app:hunter2@h/x"},
        {"own_code": "password=hunter2"},
    ],
)
def test_invalid_setting_is_named_without_its_secret(setting: dict[str, Any]) -> None:
    with pytest.raises(jobtrail.ConfigurationError) as raised:
        jobtrail.configure(**setting)
    assert "ter2" not in str(raised.value)
    assert next(iter(setting)) in str(raised.value)


def test_settings_and_their_errors_show_no_secret() -> None:
    settings = Config(pulsar_token="hunter2", pulsar_url="pulsar://us:hun/ter2@127.0.0.1:6650")
    assert "ter2" not in repr(settings)
    assert "at pulsar://127.0.0.1:6650: " in explain(TimeoutError("too late"), settings)
    assert "hunter2" not in explain(ValueError("invalid URL pulsar://us:hunter2@x"), settings)


def test_failures_that_differ_only_in_a_secret_have_one_message() -> None:
    messages = {
        published(error=error_of(ValueError(f"401 for https://h/?token={secret}&x=1"), {}, ()))["error"][
            "message"
        ]
        for secret in ("hunter2", "a-longer-secret-4711", "s3cr3t")
    }
    assert messages == {f"401 for https://h/?token={REDACTED}&x=1"}


def test_text_without_any_sign_of_a_secret_costs_almost_nothing() -> None:
    """It takes about 1 µs; the bound allows for a busy machine."""
    text = "seat map has no rows: showtime 4711 of cinema 12"
    best = min(_seconds(text) for _ in range(20))
    assert best < 20e-6


def _seconds(text: str) -> float:
    started = time.process_time()
    for _ in range(200):
        redact(text)
    return (time.process_time() - started) / 200
