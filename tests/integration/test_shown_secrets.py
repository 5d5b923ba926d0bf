"""Every command hides the secrets of other publishers' events, on pages and in JSON; the tables keep the original text."""

import json
from collections.abc import Callable
from contextlib import closing

import psycopg
import pytest

from cli.main import run
from derive.rows import Batch, DeadLetter
from schemas.contract import SCHEMA_TEXT
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch
from testing.topics import EVENT, encode
from tests.integration.story import ago, event, failure, root_of, store_events

MESSAGE = "401 for https://app:hun/ter2@h.example/x?access_token=hunter2&page=3 of movie 7"
TRACE = 'Traceback (most recent call last):\n  File "x.py", line 3, in go\n    log_in(token=token)\nE: Bearer hunter2\n'
PAYLOAD = encode({**EVENT, "meta": {"password": "hunter2"}, "args": '{"token": "hunter2"}'}) + b"!"

Jobtrail = Callable[..., str]


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Return a function that runs the command on a database with secrets in a failure and a dead letter, and returns its output."""
    error = failure("http", MESSAGE, stacktrace=TRACE)
    failed = event("W", "4711", "discarded", ago(minutes=1), source="kino", error=error, **root_of("4711"))
    store_events(database_url, [failed]).close()
    letter = DeadLetter(
        "t", "(1,0,0,-1)", "trailing_bytes", "got api_key=hunter2", PAYLOAD, "k", ago(minutes=1), 0
    )
    with closing(connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests")) as session:
        prepare_session(session)
        write_batch(session, Batch(dead_letters=[letter]))
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)

    def shown(*arguments: str) -> str:
        run(list(arguments))
        out, err = capsys.readouterr()
        assert err == ""
        return out

    return shown


@pytest.mark.parametrize("as_json", [False, True])
def test_commands_show_no_secret_of_any_publisher(jobtrail: Jobtrail, as_json: bool) -> None:
    form = ["--json"] if as_json else []
    (group,) = json.loads(jobtrail("failures", "list", "--json"))
    shown = {
        "failures list": jobtrail("failures", "list", *form),
        "failures show": jobtrail("failures", "show", group["id"], *form),
        "lineage jobs": jobtrail("lineage", "jobs", "4711", *form),
        "dead-letters list": jobtrail("dead-letters", "list", *form),
        "dead-letters show": jobtrail("dead-letters", "show", "1:0:0:-1", *form),
    }
    for command, text in shown.items():
        assert "hunter2" not in text, command
        assert "ter2" not in text, command
        assert b"hunter2".hex() not in text, command
        assert b"hunter2".hex(" ") not in text, command
    assert "401 for" in shown["failures show"]
    assert "401 for https://app:[redacted]@h.example/x?access_token=" in shown["lineage jobs"]
    assert "log_in(token=token)" in shown["failures show"]
    assert "got api_key=[redacted]" in shown["dead-letters list"]


def test_stored_text_stays_as_published(jobtrail: Jobtrail, database_url: str) -> None:
    """Only then do a rebuild and a retry of dead letters give the same rows."""
    jobtrail("failures", "list")
    with psycopg.connect(database_url) as session:
        messages = session.execute("SELECT error_message FROM jobtrail.attempts").fetchall()
        payloads = session.execute("SELECT payload FROM jobtrail.dead_letters").fetchall()
    assert messages == [(MESSAGE,)]
    assert payloads == [(PAYLOAD,)]
    assert "hunter2" not in SCHEMA_TEXT
