"""`jobtrail dead-letters` and `jobtrail events tail` as people and programs use them."""

import io
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from broker import provision
from broker.client import connect as connect_broker
from consumers.retry import broker_decoder
from derive.rows import Batch, DeadLetter
from schemas.contract import SCHEMA_TEXT
from schemas.errors import DecodeError
from servers.ports import free_ports
from servers.pulsar import Pulsar
from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch
from testing.topics import EVENT, encode, own_topic, publish
from tests.integration.command import Jobtrail, jobtrail_with
from tests.integration.raw_producer import RawMessage, RawProducer

US = 10**6
PUBLISHED_US = 1_790_000_000 * US
TOPIC = "persistent://t/n/events-partition-0"
HOSTILE = "\x1b[31m\u202eEvil\x07"


def letter(number: int, reason: str = "malformed", payload: bytes = b"\x07", **fields: Any) -> DeadLetter:
    made = DeadLetter(TOPIC, f"({number},0,0,-1)", reason, "bad", payload, "k", PUBLISHED_US + number * US, 0)
    return made._replace(**fields)


@pytest.fixture
def session(database_url: str) -> Iterator[psycopg.Connection]:
    with closing(connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests")) as opened:
        prepare_session(opened)
        yield opened


@pytest.fixture
def jobtrail(
    database_url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Jobtrail:
    """Return a function that runs the command, with a broker that cannot be reached."""
    monkeypatch.setenv("JOBTRAIL_DATABASE_URL", database_url)
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", f"pulsar://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setenv("JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS", "1")

    return jobtrail_with(capsys)


@pytest.fixture
def schema_file(tmp_path: Path) -> str:
    path = tmp_path / "job_event.avsc"
    path.write_text(SCHEMA_TEXT)
    return str(path)


def keep(session: psycopg.Connection, *letters: DeadLetter) -> None:
    write_batch(session, Batch(dead_letters=list(letters)))


def left(session: psycopg.Connection) -> list[str]:
    with session.transaction():
        return [
            message
            for (message,) in session.execute("SELECT message_id FROM dead_letters ORDER BY 1").fetchall()
        ]


def test_list_counts_by_reason_and_shows_the_newest(jobtrail: Jobtrail, session: psycopg.Connection) -> None:
    assert jobtrail("dead-letters", "list")[:2] == (0, "no dead letters.\n")
    keep(session, *(letter(number) for number in range(1, 60)), letter(99, "no_schema", topic="other"))
    status, out, err = jobtrail("dead-letters", "list", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert found["total"] == 60
    assert [(one["reason"], one["messages"]) for one in found["reasons"]] == [
        ("malformed", 59),
        ("no_schema", 1),
    ]
    assert [one["message_id"] for one in found["newest"]][:2] == ["(99,0,0,-1)", "(59,0,0,-1)"]
    assert len(found["newest"]) == 50
    assert found["newest"][0]["published_at"] == "2026-09-21T14:14:59.000000Z"
    status, out, _ = jobtrail("dead-letters", "list", "--limit", "2")
    assert "60 dead letters" in out
    assert "99:0:0:-1" in out
    assert out.endswith("… and 58 more (--limit)\n")
    for arguments, total in (
        (["--reason", "no_schema"], 1),
        (["--topic", TOPIC], 59),
        (["--since", "2026-09-21T14:14:19Z"], 2),
    ):
        _, out, _ = jobtrail("dead-letters", "list", "--json", *arguments)
        assert json.loads(out)["total"] == total, arguments


def test_show_gives_the_bytes_and_their_decoded_form(jobtrail: Jobtrail, session: psycopg.Connection) -> None:
    payload = encode({**EVENT, "worker": HOSTILE}) + b"!"
    keep(session, letter(1, "trailing_bytes", payload), letter(2))
    status, out, _ = jobtrail("dead-letters", "show", "1:0:0:-1")
    assert status == 0
    assert payload[:4].hex(" ") in out
    assert "Decoded by the released schema 0001, with 1 byte left over:" in out
    assert '"worker": "\\u001b[31m\\u202eEvil\\u0007"' in out
    status, out, _ = jobtrail("dead-letters", "show", "(1,0,0,-1)", "--json")
    found = json.loads(out)
    assert bytes.fromhex(found["payload"]) == payload
    assert found["read"]["event"]["worker"] == HOSTILE
    assert (found["read"]["release"], found["read"]["bytes_left"]) == (1, 1)
    status, out, _ = jobtrail("dead-letters", "show", "2,0,0,-1")
    assert (status, "No released schema can decode these bytes." in out) == (0, True)


def test_control_characters_of_messages_are_escaped(jobtrail: Jobtrail, session: psycopg.Connection) -> None:
    payload = encode({**EVENT, "worker": HOSTILE})
    keep(session, letter(1, payload=payload, detail=HOSTILE, message_key=HOSTILE, topic=f"t{HOSTILE}"))
    for arguments in (["list"], ["list", "--json"], ["show", "1:0:0:-1"], ["show", "1:0:0:-1", "--json"]):
        _, out, _ = jobtrail("dead-letters", *arguments)
        assert all(line.isprintable() for line in out.splitlines()), arguments
        assert "\\u202e" in out


def test_an_id_that_is_unknown_or_in_several_topics_is_an_error(
    jobtrail: Jobtrail, session: psycopg.Connection
) -> None:
    keep(session, letter(1), letter(1, topic="other"))
    assert jobtrail("dead-letters", "show", "9:9:9:9")[0] == 1
    assert jobtrail("dead-letters", "retry", "9:9:9:9")[0] == 1
    for command in ("show", "retry", "purge"):
        status, _, err = jobtrail("dead-letters", command, "1:0:0:-1")
        assert (status, "choose one with --topic" in err) == (2, True)
    assert (
        json.loads(jobtrail("dead-letters", "show", "1:0:0:-1", "--topic", "other", "--json")[1])["topic"]
        == "other"
    )


def test_retry_with_the_writers_schema_needs_no_broker(
    jobtrail: Jobtrail, session: psycopg.Connection, schema_file: str
) -> None:
    """It ends with 1 while a dead letter is left."""
    keep(session, letter(1, "unknown_schema", encode(EVENT)), letter(2, "unknown_schema"))
    status, out, err = jobtrail("dead-letters", "retry", "--all", "--schema-file", schema_file, "--json")
    assert (status, err) == (1, "")
    assert json.loads(out) == {"tried": 2, "stored": 1, "expired": 0, "left": {"unknown_schema": 1}}
    assert left(session) == ["(2,0,0,-1)"]
    keep(session, letter(1, "unknown_schema", encode(EVENT)))
    status, out, _ = jobtrail("dead-letters", "retry", "1:0:0:-1", "--schema-file", schema_file)
    assert (status, out) == (0, "tried 1 dead letter: 1 event stored\n")


def test_retry_while_the_broker_is_away_changes_nothing(
    jobtrail: Jobtrail, session: psycopg.Connection
) -> None:
    keep(session, letter(1, "unknown_schema", encode(EVENT)))
    status, out, err = jobtrail("dead-letters", "retry", "--all")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "cannot read schema version 0" in err
    assert left(session) == ["(1,0,0,-1)"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["retry"],
        ["purge"],
        ["retry", "--all", "--reason", "malformed"],
        ["retry", "--all", "--schema-file", __file__],
        ["retry", "--all", "--schema-file", "/nowhere"],
        ["retry", "--all", "--schema-file", __file__, "--schema-version", "1"],
        ["list", "--since", "soon"],
    ],
)
def test_invalid_or_incomplete_options_are_refused(
    jobtrail: Jobtrail, session: psycopg.Connection, arguments: list[str]
) -> None:
    keep(session, letter(1))
    status, out, err = jobtrail("dead-letters", *arguments)
    assert (status, out, "Traceback" in err) == (2, "", False)
    assert left(session) == ["(1,0,0,-1)"]


def test_purge_shows_how_many_asks_and_deletes(
    jobtrail: Jobtrail, session: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(session, *(letter(number) for number in range(1, 2_502)), letter(9_000, "no_schema"))
    for answer, expected in (("n\n", 1), ("", 2)):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        status, out, err = jobtrail("dead-letters", "purge", "--reason", "malformed")
        assert (status, out.strip()) == (expected, "")
        assert "2501 dead letters would be deleted" in err
    assert len(left(session)) == 2_502
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    status, out, _ = jobtrail("dead-letters", "purge", "1:0:0:-1")
    assert (status, out.strip()) == (0, "deleted 1 dead letter.")
    status, out, _ = jobtrail("dead-letters", "purge", "--reason", "malformed", "--yes", "--json")
    assert (status, json.loads(out)) == (0, {"deleted": 2_500})
    before = ["--before", "2026-09-21T00:00:00Z"]
    assert jobtrail("dead-letters", "purge", *before, "--yes")[1] == "deleted 0 dead letters.\n"
    assert left(session) == ["(9000,0,0,-1)"]
    assert jobtrail("dead-letters", "purge", "--all", "--yes")[1] == "deleted 1 dead letter.\n"


@pytest.fixture
def topic(pulsar: Pulsar, jobtrail: Jobtrail, monkeypatch: pytest.MonkeyPatch) -> ProvisionSettings:
    """Return a new, provisioned topic, which the command's settings name."""
    settings = own_topic(pulsar, provision_partitions=1)
    provision.run(settings, check=False)
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", settings.pulsar_url)
    monkeypatch.setenv("JOBTRAIL_TOPIC", settings.topic)
    monkeypatch.setenv("JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS", "30")
    return settings


def test_retry_asks_the_registry_of_the_messages_own_topic(
    jobtrail: Jobtrail, session: psycopg.Connection, topic: ProvisionSettings
) -> None:
    """If the topic has the version again, or the schema under another number, the events are stored."""
    partition = f"{topic.topic}-partition-0"
    payload = encode(EVENT)
    mine = letter(1, "unknown_schema", payload, topic=partition, schema_version=7)
    keep(
        session, mine, letter(2, "unknown_schema", payload, topic="persistent://test/other/topic-partition-0")
    )
    status, out, _ = jobtrail("dead-letters", "retry", "--all", "--json")
    assert (status, json.loads(out)["left"]) == (1, {"unknown_schema": 2})
    status, out, _ = jobtrail("dead-letters", "retry", "--all", "--schema-version", "0", "--json")
    assert (status, json.loads(out)) == (
        1,
        {"tried": 2, "stored": 1, "expired": 0, "left": {"unknown_schema": 1}},
    )
    assert left(session) == ["(2,0,0,-1)"]
    client = connect_broker(BrokerSettings.load(pulsar_url=topic.pulsar_url))
    with pytest.raises(DecodeError, match="unknown_schema"):
        broker_decoder(client, topic)(mine)
    client.close()


def test_tail_shows_events_and_bad_messages_and_takes_nothing_from_the_consumers(
    jobtrail: Jobtrail, topic: ProvisionSettings
) -> None:
    client = connect_broker(topic)
    events = [
        {**EVENT, "job_id": "1", "worker": HOSTILE},
        {
            **EVENT,
            "job_id": "2",
            "namespace": "other",
            "state": "discarded",
            "error": {"category": "timeout"},
        },
        {**EVENT, "job_id": "3", "source": "kino"},
    ]
    publish(client, topic.topic, *events)
    client.close()
    with RawProducer(topic.pulsar_url, f"{topic.topic}-partition-0") as producer:
        producer.send([RawMessage(b"\x07"), RawMessage(b"?" * 40, encrypted_by=b"k")])
    status, out, err = jobtrail("events", "tail", "--since", "1h", "--count", "5")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("2025-10-09 08:53:20.000Z  completed  \\x1b[31m\\u202eEvil\\x07 #1")
    assert "✗ timeout" in lines[1]
    assert "⚠ malformed" in lines[3]
    assert "⚠ encrypted" in lines[4]
    # Messages that are not events are shown whatever is asked, and are no answer to it.
    status, out, err = jobtrail("events", "tail", "--since", "1h", "--namespace", "nope")
    assert (status, len(out.splitlines())) == (1, 2)
    assert "no such namespace: 'nope'" in err
    assert jobtrail("events", "tail", "--since", "1h", "--job", "2", "--state", "completed")[0] == 0
    for arguments, job_id in (
        (["--namespace", "other"], "2"),
        (["--state", "discarded"], "2"),
        (["--source", "kino"], "3"),
        (["--worker", HOSTILE], "1"),
        (["--job", "#3"], "3"),
    ):
        _, out, _ = jobtrail("events", "tail", "--since", "1h", "--count", "1", "--json", *arguments)
        assert json.loads(out)["event"]["job_id"] == job_id
    _, out, _ = jobtrail("events", "tail", "--since", "1h", "--count", "5", "--json")
    shown = [json.loads(line) for line in out.splitlines()]
    assert shown[0]["event"]["occurred_at"] == "2025-10-09T08:53:20.000000Z"
    assert shown[0]["event"]["started_at"] is None
    assert [one["reason"] for one in shown[3:]] == ["malformed", "encrypted"]
    assert shown[3]["payload"] == "07"
    path = topic.topic.removeprefix("persistent://")
    stats = httpx.get(f"{topic.pulsar_admin_url}/admin/v2/persistent/{path}-partition-0/stats").json()
    assert {name: one["msgBacklog"] for name, one in stats["subscriptions"].items()} == {
        "aggregator": 5,
        "metrics": 5,
    }


def test_tail_without_a_broker_ends_with_2(jobtrail: Jobtrail) -> None:
    status, out, err = jobtrail("events", "tail", "--count", "1")
    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert "JOBTRAIL_PULSAR_URL" in err
