"""The pipeline shows no secrets: in settings, errors, log lines, and events of publishers that do not redact."""

import io
import json
import logging
from contextlib import redirect_stderr
from typing import Any

import fastavro
import pytest
import structlog

from cli.main import run
from cli.render.events import event_json, event_line, invalid_json, invalid_line
from consumers.process.log import configure_log, redact_secrets
from derive.rows import DeadLetter
from schemas.contract import SCHEMA_TEXT, Event
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import decoder
from schemas.errors import BrokerError, DecodeError, SettingsError
from schemas.look import look
from schemas.redacted_event import masked_payload, redacted_event, redacted_value
from schemas.redaction import REDACTED
from schemas.validate import problems_of_json
from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from settings.service import ServiceSettings
from store.verify.difference import differences
from testing.secret_forms import FORMS, HARMLESS, Form

FORM = pytest.mark.parametrize("form", FORMS, ids=lambda form: form.what)
EVENT = Event(
    namespace="n",
    job_id="4711",
    worker="W",
    queue="q",
    state="discarded",
    attempt=1,
    occurred_at=1_800_000_000_000_000,
    source="https://feed.example/?api_key=hunter2",
    external_id="https://bob:hunter2@h.example/4711",
    error={
        "category": "c",
        "type": "t",
        "message": "401 for https://h.example/?access_token=hunter2",
        "stacktrace": 'Traceback (most recent call last):\n  File "x.py", line 3, in go\n    log_in(password=password)\n'
        "E: password=hunter2\n",
        "origin": "",
        "fingerprint": "",
    },
    args='{"page": 3, "password": "hunter2"}',
    meta={"token": "hunter2", "page": "3"},
)


def payload_of(event: Event) -> bytes:
    """Encode the event as its publisher does."""
    stream = io.BytesIO()
    fastavro.schemaless_writer(stream, fastavro.parse_schema(json.loads(SCHEMA_TEXT)), event._asdict())
    return stream.getvalue()


def assert_redacted(form: Form, shown: str) -> None:
    assert [secret for secret in form.secrets if secret in shown] == []
    assert [words for words in form.survive if words not in shown] == []


@FORM
def test_error_of_the_pipeline_shows_no_secret_that_it_quotes(form: Form) -> None:
    """Libraries quote addresses, and a server's messages."""
    assert_redacted(form, str(BrokerError(form.text)))
    error = DecodeError(DeadLetterReason.MALFORMED, form.text)
    assert_redacted(form, str(error))
    assert error.detail == form.text, "stored text is unchanged"


@FORM
def test_log_line_shows_no_secret(form: Form) -> None:
    event = redact_secrets(None, "info", {"event": "x", "error": form.text, "count": 3})
    assert_redacted(form, event["error"])
    assert event["count"] == 3


@FORM
def test_message_and_trace_of_any_publisher_are_shown_without_secrets(form: Form) -> None:
    event = EVENT._replace(error={**(EVENT.error or {}), "message": form.text, "stacktrace": form.text})
    error = redacted_event(event._asdict())["error"]
    assert_redacted(form, error["message"])
    assert_redacted(form, error["stacktrace"])
    masked = masked_payload(payload_of(event), event._asdict())
    assert [secret for secret in form.secrets if secret.encode() in masked] == []
    assert len(masked) == len(payload_of(event))


@pytest.mark.parametrize("text", HARMLESS)
def test_text_without_a_secret_is_shown_unchanged(text: str) -> None:
    event = EVENT._replace(
        source="", external_id="", args=text, meta={"x": text}, error={"message": text, "stacktrace": text}
    )
    assert redacted_event(event._asdict()) == event._asdict()
    assert str(BrokerError(text)) == text


def test_event_is_shown_without_its_secrets() -> None:
    shown = redacted_event(EVENT._asdict())
    assert "hunter2" not in repr(shown)
    assert json.loads(shown["args"]) == {"page": 3, "password": REDACTED}
    assert shown["meta"] == {"token": REDACTED, "page": "3"}
    assert "log_in(password=password)" in shown["error"]["stacktrace"], "a line of code is unchanged"
    assert EVENT.args.endswith('"hunter2"}'), "decoding changes nothing"
    assert "hunter2" not in event_line(EVENT) + event_json(EVENT, "topic", "1:2:3:4")


def test_event_of_any_fields_is_shown_without_an_error() -> None:
    """A damaged payload may decode to anything."""
    for fields in ({}, {"error": 3, "meta": [1], "args": None}, {"meta": {1: 2}, "error": {"message": 5}}):
        fields_read: dict[str, Any] = fields
        assert redacted_event(fields_read) == fields_read


def test_bytes_of_a_dead_letter_keep_their_positions_without_their_secrets() -> None:
    payload = payload_of(EVENT) + b"!"
    read_as = look(payload)
    assert read_as is not None
    masked = masked_payload(payload, read_as.event)
    assert len(masked) == len(payload)
    assert b"hunter2" not in masked
    assert masked.endswith(b"!")
    assert masked.count(b"4711") == payload.count(b"4711")
    again = look(masked)
    assert again is not None
    assert again.event["meta"] == {"token": "*******", "page": "3"}
    letter = DeadLetter("t", "(1,2,3,4)", "trailing_bytes", "got password=hunter2", payload, "", 0, 0)
    assert "hunter2" not in invalid_line(letter)
    shown = json.loads(invalid_json(letter))
    assert bytes.fromhex(shown["payload"]) == masked
    assert shown["detail"] == f"got password={REDACTED}"


def test_bytes_that_no_schema_reads_are_masked_by_their_text() -> None:
    payload = b"\x00\xff{'password': 'hunter2'}\x80"
    assert look(payload) is None
    assert masked_payload(payload, None) == b"\x00\xff{'password': '*******'}\x80"


def test_difference_is_shown_without_secrets() -> None:
    stored = {"meta": {"token": "hunter2", "n": 1}, "title": "password=hunter2"}
    expected = {"meta": None, "title": "password=hunter3"}
    found = list(differences("jobs", {"job_id": "1"}, stored, expected))
    assert [difference.column for difference in found] == ["meta", "title"]
    assert "hunter" not in repr(found)
    assert "hunter2" not in repr(list(differences("jobs", {}, stored, None)))
    assert redacted_value([1, None, {"auth": ["x"]}]) == [1, None, {"auth": REDACTED}]


@pytest.mark.parametrize("password", ["hunter2", "hun/ter2", "hun@ter2", "hun ter2", "12/ter2", "%68unter2"])
def test_settings_show_no_password_of_an_address(password: str) -> None:
    settings = BrokerSettings.load(
        pulsar_url=f"pulsar://us:{password}@broker:6650",
        pulsar_admin_url=f"https://us:{password}@broker:8443",
        pulsar_token="hunter2",
    )
    for shown in (repr(settings), str(settings), f"{settings}"):
        assert "ter2" not in shown
        assert "broker" in shown
    assert password in settings.pulsar_url
    database = DatabaseSettings.load(database_url=f"postgresql://us:{password}@db/x")
    assert "ter2" not in repr(database) + str(database)


def test_setting_in_the_wrong_variable_is_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password was given instead of a number, or of a list."""
    monkeypatch.setenv("JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS", "postgresql://us:hunter2@db/x")
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", "https://us:hunter2@db/x")
    with pytest.raises(SettingsError) as raised:
        BrokerSettings.load()
    assert "JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS" in str(raised.value)
    assert "hunter2" not in str(raised.value) + repr(raised.value.__context__)


def test_service_logs_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    for log_format in ("text", "json"):
        with structlog.testing.capture_logs():
            pass  # so that its own set-up is undone below
        stream = io.StringIO()
        with redirect_stderr(stream):
            configure_log(ServiceSettings.load(log_format=log_format), "tests")
            structlog.get_logger("x").warning(
                "broker_away", error="no answer of amqp://us:hun/ter2@mq", token="hunter2", seconds=3
            )
        structlog.reset_defaults()
        assert "ter2" not in stream.getvalue()
        assert "broker_away" in stream.getvalue()
        assert "@mq" in stream.getvalue()
    structlog.contextvars.clear_contextvars()
    assert logging.getLogger().level is not None
    assert capsys.readouterr().out == ""


def test_command_that_fails_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its traceback shows none either."""

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("cannot reach amqp://us:hun/ter2@mq with token=hunter2")

    monkeypatch.setattr("store.connection.connect", fail)
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", "postgresql://us:hunter2@db/x")
    monkeypatch.setenv("JOBTRAIL_TRACEBACK", "1")
    assert run(["failures", "list"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "amqp://us:[redacted]@mq" in shown
    assert "ter2" not in shown


def test_checked_event_is_quoted_without_its_secrets() -> None:
    problems = problems_of_json(
        {"password": "hunter2 hunter2", "state": "token=hunter2", "args": {"password": "hunter2"}}
    )
    assert problems
    assert "hunter2" not in repr([problem for problem in problems if problem.field != "password"])


def test_masked_payload_is_still_decoded() -> None:
    event = decoder(SCHEMA_TEXT)(masked_payload(payload_of(EVENT), EVENT._asdict()))
    assert event.job_id == EVENT.job_id
    assert "hunter2" not in repr(event)
