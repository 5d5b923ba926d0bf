"""What is wrong with the broker is said by cause, and `--wait` waits for what passes by itself, and for nothing else."""

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
    """What the command says of a broker that it cannot use: one line, without a secret."""
    ended = jobtrail(*arguments, **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert "s3cret" not in line
    assert "defect" not in line
    return line


TAIL = ("events", "tail", "--since", "1h")


def test_a_broker_that_does_not_run_is_said_not_to(pulsar: Pulsar) -> None:
    """At once: the library would try for as long as it may."""
    (dead,) = free_ports(1)
    started = time.monotonic()
    said = refusal(
        *TAIL, JOBTRAIL_PULSAR_URL=f"pulsar://{HOST}:{dead}", JOBTRAIL_PULSAR_OPERATION_TIMEOUT_SECONDS="60"
    )
    assert time.monotonic() - started < 30
    assert said == (
        f"jobtrail: cannot reach the broker: nothing listens at {HOST}:{dead} (connection refused). Start it, or correct "
        "JOBTRAIL_PULSAR_URL."
    )
    said = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=f"http://u:s3cret@{HOST}:{dead}")
    assert f"nothing listens at {HOST}:{dead} (connection refused). Start the broker" in said


def test_a_host_that_nobody_knows_is_named() -> None:
    assert "no host has the name 'no-such-host.invalid'" in refusal(
        *TAIL, JOBTRAIL_PULSAR_URL="pulsar://no-such-host.invalid"
    )
    said = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL="http://no-such-host.invalid:8080")
    assert (
        "no host has the name 'no-such-host.invalid'. Correct the address in JOBTRAIL_PULSAR_ADMIN_URL"
        in said
    )


def test_ports_that_were_exchanged_are_told_apart(pulsar: Pulsar) -> None:
    url, admin_url = pulsar.admin_url.replace("http", "pulsar"), pulsar.url.replace("pulsar", "http")
    said = refusal(*TAIL, JOBTRAIL_PULSAR_URL=url)
    assert re.search(
        r"what listens at \S+ speaks HTTP\. Correct JOBTRAIL_PULSAR_URL to the broker's own port", said
    )
    said = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=admin_url, JOBTRAIL_PULSAR_URL=pulsar.url)
    assert "is the broker's own port, which does not speak HTTP. Correct JOBTRAIL_PULSAR_ADMIN_URL" in said


def test_tls_where_there_is_none_is_told_apart(pulsar: Pulsar) -> None:
    said = refusal(*TAIL, JOBTRAIL_PULSAR_URL=pulsar.url.replace("pulsar:", "pulsar+ssl:"))
    assert "does not speak TLS. Correct JOBTRAIL_PULSAR_URL: pulsar://host:6650 without TLS" in said
    said = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=pulsar.admin_url.replace("http:", "https:"))
    assert "does not speak TLS. Correct JOBTRAIL_PULSAR_ADMIN_URL" in said


def test_a_topic_that_is_not_there_is_cured_by_provision(pulsar: Pulsar) -> None:
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
def test_an_admin_url_that_cannot_be_used_is_refused_with_the_form_expected(url: str) -> None:
    said = refusal("provision", JOBTRAIL_PULSAR_ADMIN_URL=url)
    assert "JOBTRAIL_PULSAR_ADMIN_URL cannot be used" in said
    assert "expected http://host:8080 or https://host:8443;" in said


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found",
        b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\n{}",
    ],
)
def test_another_web_server_is_not_taken_for_a_broker_without_topics(answer: bytes) -> None:
    with answering(says(answer)) as port:
        said = refusal("provision", "--check", JOBTRAIL_PULSAR_ADMIN_URL=f"http://{HOST}:{port}")
    assert "is not Pulsar's admin REST" in said


def test_what_passes_by_itself_is_a_broker_that_is_away() -> None:
    """By type: whoever waits branches on it."""
    away = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
    refused = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
    for answer, kind in (
        (away, BrokerAwayError),
        (b"", BrokerAwayError),
        (refused, BrokerError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n<", BrokerError),
    ):
        with (
            answering(says(answer)) as port,
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


def test_provision_waits_for_a_broker_that_starts(tmp_path: Path) -> None:
    """From before its process begins until it takes policies."""
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
    said = waiting.stderr.readline()
    assert said.startswith("jobtrail: waiting for at most 300 s: no answer from the broker's admin REST")
    with server:
        out, err = waiting.communicate(timeout=300)
    assert (waiting.returncode, err) == (0, "")
    assert "created tenant jobtrail" in out.splitlines()


def test_migrate_waits_for_a_database_that_starts() -> None:
    server = PostgresServer()
    waiting = subprocess.Popen(
        [JOBTRAIL, "migrate", "--wait"],
        env=environment(JOBTRAIL_DATABASE_URL=server.url()),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    said = waiting.stderr.readline()
    assert said.startswith("jobtrail: waiting for at most 60 s: cannot connect to the database")
    with server:
        out, err = waiting.communicate(timeout=120)
        assert (waiting.returncode, err) == (0, "")
        assert "applied 0001_control" in out


@pytest.mark.parametrize("command", ["provision", "migrate"])
def test_waiting_has_an_end(command: str) -> None:
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


def test_nothing_that_stays_wrong_is_waited_for(empty_database_url: str, pulsar: Pulsar) -> None:
    url = f"{empty_database_url.rpartition('/')[0]}/no-such-database"
    assert "(3D000)" in refusal("migrate", "--wait", JOBTRAIL_DATABASE_URL=url)
    assert "is not set" in refusal("migrate", "--wait")
    said = refusal("provision", "--wait", JOBTRAIL_PULSAR_ADMIN_URL=f"{pulsar.admin_url}/admin/v2")
    assert "is not Pulsar's admin REST" in said


def says(answer: bytes) -> Callable[[socket.socket], None]:
    """Return what a web server does that answers every request with the same bytes."""

    def answer_request(connection: socket.socket) -> None:
        connection.recv(65_536)
        connection.sendall(answer)

    return answer_request
