"""Errors of the broker name the cause, and `--wait` waits only for causes that pass by themselves."""

import os
import re
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from broker.admin import admin
from broker.client import connect
from broker.reach import check_reachable, pulsar_cause
from broker.tail import open_reader
from schemas.errors import BrokerAwayError, BrokerError
from servers.errors import ServerUnavailableError
from servers.ports import HOST, free_ports
from servers.postgres import PostgresServer
from servers.pulsar import QUICK_START, Pulsar, PulsarServer
from servers.pulsar_jars import java_problem
from settings.broker import BrokerSettings
from testing.services import JOBTRAIL
from testing.topics import own_topic
from tests.integration.answering import answering


def environment(**variables: str) -> dict[str, str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("JOBTRAIL_", "PG"))
    }
    return {**inherited, "JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS": "3", **variables}


def jobtrail(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [JOBTRAIL, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(*arguments: str, **variables: str) -> str:
    """Return the command's message about a broker that it cannot use: one line, without a secret."""
    ended = jobtrail(*arguments, **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "s3cret" not in line
    assert "defect" not in line
    return line


TAIL = ("events", "tail", "--since", "1h")


def test_a_broker_that_does_not_run_is_reported(pulsar: Pulsar) -> None:
    """It is reported at once; the library alone would try until its timeout."""
    (dead,) = free_ports(1)
    started = time.monotonic()
    message = refusal(
        *TAIL, JOBTRAIL_PULSAR_URL=f"pulsar://{HOST}:{dead}", JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS="60"
    )
    assert time.monotonic() - started < 30
    assert message == (
        f"jobtrail: cannot reach the broker: nothing listens at {HOST}:{dead} (connection refused). Start it, or correct "
        "JOBTRAIL_PULSAR_URL."
    )
    message = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=f"http://u:s3cret@{HOST}:{dead}")
    assert f"nothing listens at {HOST}:{dead} (connection refused). Start the broker" in message


def test_an_unknown_host_is_named() -> None:
    assert "no host has the name 'no-such-host.invalid'" in refusal(
        *TAIL, JOBTRAIL_PULSAR_URL="pulsar://no-such-host.invalid"
    )
    message = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL="http://no-such-host.invalid:8080")
    assert (
        "no host has the name 'no-such-host.invalid'. Correct the address in JOBTRAIL_PULSAR_ADMIN_URL"
        in message
    )


def test_swapped_ports_are_recognised(pulsar: Pulsar) -> None:
    url, admin_url = pulsar.admin_url.replace("http", "pulsar"), pulsar.url.replace("pulsar", "http")
    message = refusal(*TAIL, JOBTRAIL_PULSAR_URL=url)
    assert re.search(
        r"what listens at \S+ speaks HTTP\. Correct JOBTRAIL_PULSAR_URL to the broker's own port", message
    )
    message = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=admin_url, JOBTRAIL_PULSAR_URL=pulsar.url)
    assert "is the broker's own port, which does not speak HTTP. Correct JOBTRAIL_PULSAR_ADMIN_URL" in message


def test_tls_to_a_port_without_tls_is_recognised(pulsar: Pulsar) -> None:
    message = refusal(*TAIL, JOBTRAIL_PULSAR_URL=pulsar.url.replace("pulsar:", "pulsar+ssl:"))
    assert "does not speak TLS. Correct JOBTRAIL_PULSAR_URL: pulsar://host:6650 without TLS" in message
    message = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=pulsar.admin_url.replace("http:", "https:"))
    assert "does not speak TLS. Correct JOBTRAIL_PULSAR_ADMIN_URL" in message


def test_a_missing_topic_is_answered_with_provision(pulsar: Pulsar) -> None:
    settings = own_topic(pulsar)
    variables = {
        "JOBTRAIL_PULSAR_URL": pulsar.url,
        "JOBTRAIL_PULSAR_ADMIN_URL": pulsar.admin_url,
        "JOBTRAIL_TOPIC": settings.topic,
        "JOBTRAIL_PROVISION_PARTITIONS": "1",
        "JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS": "30",
    }
    assert "does not exist: run `jobtrail provision`." in refusal(*TAIL, **variables)
    assert jobtrail("provision", **variables).returncode == 0
    ended = jobtrail(*TAIL, **variables)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.mark.parametrize("url", ["http://", "http://h:99999", "http://[::1", "http://h:80:80"])
def test_an_invalid_admin_url_is_refused_with_the_expected_form(url: str) -> None:
    message = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=url)
    assert "JOBTRAIL_PULSAR_ADMIN_URL cannot be used" in message
    assert "expected http://host:8080 or https://host:8443;" in message


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_another_web_server_is_not_mistaken_for_a_broker_without_topics(answer: bytes) -> None:
    with answering(answers(answer)) as port:
        message = refusal("provision", "--check", JOBTRAIL_PULSAR_ADMIN_URL=f"http://{HOST}:{port}")
    assert "is not Pulsar's admin REST" in message


def test_errors_that_pass_by_themselves_have_a_type_of_their_own() -> None:
    """Code that waits for the broker branches on the type."""
    away = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    for answer, kind in (
        (away, BrokerAwayError),
        (b"", BrokerAwayError),
        (refused, BrokerError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<", BrokerError),
    ):
        with (
            answering(answers(answer)) as port,
            admin(BrokerSettings.load(pulsar_admin_url=f"http://{HOST}:{port}")) as broker,
        ):
            with pytest.raises(BrokerError) as raised:
                broker.get("/clusters")
            assert type(raised.value) is kind, answer
    (dead,) = free_ports(1)
    with pytest.raises(BrokerAwayError):
        check_reachable(BrokerSettings.load(pulsar_url=f"pulsar://{HOST}:{dead}"))
    settings = BrokerSettings.load(pulsar_url=f"pulsar://{HOST}:{dead}", pulsar_operation_timeout_seconds=1)
    client = connect(settings, log_file=os.devnull)
    with pytest.raises(BrokerAwayError), open_reader(client, settings, None):
        pass
    client.close()


def test_one_broker_of_several_is_enough(pulsar: Pulsar) -> None:
    (dead,) = free_ports(1)
    settings = BrokerSettings.load(
        pulsar_url=f"pulsar://{HOST}:{dead},{pulsar.url.removeprefix('pulsar://')}"
    )
    check_reachable(settings)
    assert pulsar_cause(settings) is None


def test_provision_waits_for_a_broker_that_is_starting(tmp_path: Path) -> None:
    """It waits from before the broker's process starts until the broker accepts policies."""
    problem = java_problem()
    if problem:
        raise ServerUnavailableError(problem)
    server = PulsarServer(tmp_path / "pulsar", QUICK_START)
    waiting = subprocess.Popen(
        [JOBTRAIL, "provision", "--wait", "5m"],
        env=environment(
            JOBTRAIL_PULSAR_URL=server.url,
            JOBTRAIL_PULSAR_ADMIN_URL=server.admin_url,
            JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS="30",
        ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    message = waiting.stderr.readline()
    assert message.startswith("jobtrail: waiting for at most 300 s: no answer from the broker's admin REST")
    with server:
        out, err = waiting.communicate(timeout=300)
    assert (waiting.returncode, err) == (0, "")
    assert "created tenant jobtrail" in out.splitlines()


def test_migrate_waits_for_a_database_that_is_starting() -> None:
    server = PostgresServer()
    waiting = subprocess.Popen(
        [JOBTRAIL, "migrate", "--wait"],
        env=environment(JOBTRAIL_DATABASE_URL=server.url()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    message = waiting.stderr.readline()
    assert message.startswith("jobtrail: waiting for at most 60 s: cannot connect to the database")
    with server:
        out, err = waiting.communicate(timeout=120)
        assert (waiting.returncode, err) == (0, "")
        assert "applied 0001_control" in out


@pytest.mark.parametrize("command", ["provision", "migrate"])
def test_waiting_has_a_limit(command: str) -> None:
    (dead,) = free_ports(1)
    variables = {
        "JOBTRAIL_PULSAR_ADMIN_URL": f"http://{HOST}:{dead}",
        "JOBTRAIL_DATABASE_URL": f"postgresql://u:s3cret@{HOST}:{dead}/x",
    }
    ended = jobtrail(command, "--wait=1", **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    waits, waited = ended.stderr.splitlines()
    assert waits.startswith("jobtrail: waiting for at most 1 s: ")
    assert waited.startswith("jobtrail: waited for 1 s: ")
    assert "nothing listens" in waited


def test_errors_that_do_not_pass_are_not_waited_for(empty_database_url: str, pulsar: Pulsar) -> None:
    url = f"{empty_database_url.rpartition('/')[0]}/no-such-database"
    assert "(3D000)" in refusal("migrate", "--wait", JOBTRAIL_DATABASE_URL=url)
    assert "is not set" in refusal("migrate", "--wait")
    message = refusal("provision", "--wait", JOBTRAIL_PULSAR_ADMIN_URL=f"{pulsar.admin_url}/admin/v2")
    assert "is not Pulsar's admin REST" in message


def answers(answer: bytes) -> Callable[[socket.socket], None]:
    """Return a web server's handler that answers every request with the same bytes."""

    def answer_request(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return answer_request
