"""The code that talks to the broker, without a broker: errors, secrets, tokens, the library's private names."""

from pathlib import Path

import _pulsar
import pulsar
import pytest

from broker.client import broker_errors, connect, subscribe, token_supplier
from broker.private import check_private_names, stored_schema
from schemas.errors import BrokerError
from servers.ports import free_ports
from settings.broker import BrokerSettings


def test_the_installed_library_has_the_private_names() -> None:
    """The names are checked at every start."""
    check_private_names()


@pytest.mark.parametrize(
    ("owner", "name"), [(_pulsar.Message, "int_schema_version"), (_pulsar.Client, "get_schema_info")]
)
def test_a_library_without_a_private_name_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    """One line that names what is missing, instead of an AttributeError at the first message."""
    monkeypatch.delattr(owner, name)
    with pytest.raises(
        BrokerError, match=rf"pulsar-client {pulsar.__version__} has no {owner.__name__}\.{name}"
    ):
        connect(BrokerSettings.load())


def test_a_negative_version_is_never_asked_for() -> None:
    """The broker would answer with its newest schema, but the message was written with another."""
    with pytest.raises(ValueError, match="expected a schema version from 0, got -1"):
        stored_schema(None, "persistent://a/b/c", -1)


@pytest.mark.parametrize(
    "url",
    ["pulsar://user:hunter2@broker:6650", "pulsar://user:hun/ter2@broker", "pulsar://user:hun ter2@broker"],
)
def test_an_unusable_url_is_refused_without_showing_it(url: str) -> None:
    """The library's own message would repeat the password."""
    with pytest.raises(BrokerError) as raised:
        connect(BrokerSettings.load(pulsar_url=url))
    assert "ter2" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert "Correct JOBTRAIL_PULSAR_URL" in str(raised.value)
    assert "pulsar://broker" in str(raised.value)


def test_the_error_for_an_unreachable_broker_names_the_address_and_the_cure() -> None:
    """The error comes after the operation timeout."""
    url = f"pulsar://127.0.0.1:{free_ports(1)[0]}"
    settings = BrokerSettings.load(pulsar_url=url, pulsar_operation_timeout_seconds=1)
    client = connect(settings)
    with pytest.raises(BrokerError) as raised:
        subscribe(
            client,
            settings,
            "aggregator",
            batch_messages=1,
            batch_bytes=-1,
            batch_wait_seconds=1,
            receiver_queue=1,
        )
    assert str(raised.value).startswith(f"cannot subscribe as 'aggregator' to {settings.topic} at {url}: ")
    assert "nothing listens at 127.0.0.1:" in str(raised.value)
    assert "Start the broker, or correct the address in JOBTRAIL_PULSAR_URL" in str(raised.value)
    client.close()


@pytest.mark.parametrize(
    ("error", "cure"),
    [
        (pulsar.AuthenticationError, "JOBTRAIL_PULSAR_TOKEN"),
        (pulsar.AuthorizationError, "grant it"),
        (pulsar.TopicNotFound, "jobtrail provision"),
        (pulsar.IncompatibleSchema, "provision --check"),
        (pulsar.ProducerBusy, "See the broker's log"),
    ],
)
def test_each_refusal_has_its_cure(error: type[Exception], cure: str) -> None:
    """The class of the library's error chooses the cure."""
    with pytest.raises(BrokerError, match=cure), broker_errors("do it", BrokerSettings.load()):
        raise error("refused")


def test_a_rotated_token_file_is_read_again_and_a_missing_one_stops_nothing(tmp_path: Path) -> None:
    """The library asks for the token at each connection; while the file is being replaced, the last token is used."""
    file = tmp_path / "token"
    file.write_text("first\n")
    supplier = token_supplier(BrokerSettings.load(pulsar_token_file=str(file)))
    assert supplier is not None
    assert supplier() == "first"
    file.write_text("second\n")
    assert supplier() == "second"
    file.unlink()
    assert supplier() == "second"


def test_a_token_file_that_is_not_there_at_start_is_an_error(tmp_path: Path) -> None:
    """The error names the file and the setting."""
    with pytest.raises(
        BrokerError, match=r"cannot read the broker's token from .*JOBTRAIL_PULSAR_TOKEN_FILE"
    ):
        token_supplier(BrokerSettings.load(pulsar_token_file=str(tmp_path / "none")))


def test_the_file_wins_over_the_token_and_without_either_there_is_none(tmp_path: Path) -> None:
    """A token in the settings is the simple way, for a first try."""
    (tmp_path / "token").write_text("from the file")
    both = BrokerSettings.load(pulsar_token="given", pulsar_token_file=str(tmp_path / "token"))
    given = token_supplier(BrokerSettings.load(pulsar_token="given"))
    from_file = token_supplier(both)
    assert given is not None
    assert from_file is not None
    assert (given(), from_file()) == ("given", "from the file")
    assert token_supplier(BrokerSettings.load()) is None
