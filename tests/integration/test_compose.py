"""docker-compose.yml without Docker: its commands, environments and health checks as native processes.

Instead of the image there is a non-editable installation, outside of the checkout, of what .dockerignore lets through.
Pulsar is the same release with the file's settings; Postgres is a server with the file's database and user. Names and
ports of containers become addresses of this machine. Nothing else changes.
"""

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pulsar
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg import sql

from servers.errors import ServerUnavailableError
from servers.ports import HOST
from servers.postgres import PostgresServer
from servers.pulsar_jars import java_problem
from settings.broker import BrokerSettings
from testing.publish import EncodedEvents, publish
from testing.services import JOBTRAIL, wait_until
from testing.topics import EVENT, encode
from testing.workload import Message
from tests import compose
from tests.integration.composed import (
    SERVICES,
    Addresses,
    ComposedPulsar,
    Container,
    is_healthy,
    published_on_the_host,
)

PREPARING = ("provision", "migrate")
CONSUMING = ("aggregator", "metrics")
COMPLETED, DISCARDED = 8, 2
OPERATING = compose.ROOT / "docs" / "operating.md"


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the pipeline and the SDK by the Dockerfile's commands, in a folder of their own."""
    context, installed = tmp_path_factory.mktemp("context"), tmp_path_factory.mktemp("image")
    compose.copy_context(context)
    (words,) = (
        rest.split()[1:]
        for instruction, rest in compose.instructions()
        if instruction == "RUN" and "--no-build-isolation" in rest
    )
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet"]
    subprocess.run([*pip, *words, "--no-index", "--target", str(installed)], cwd=context, check=True)
    return installed


@pytest.fixture(scope="module")
def addresses() -> Addresses:
    return Addresses()


@pytest.fixture(scope="module")
def broker(addresses: Addresses, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ComposedPulsar]:
    problem = java_problem()
    if problem:
        raise ServerUnavailableError(problem)
    server = ComposedPulsar(tmp_path_factory.mktemp("composed-pulsar"), addresses)
    with server:
        yield server


@pytest.fixture(scope="module")
def database_url(addresses: Addresses, postgres_of_version: Callable[[int], PostgresServer]) -> Iterator[str]:
    """Create the file's database and user; the user owns the database and nothing else."""
    _, major = SERVICES["postgres"]["image"].partition(".")[0].split(":")
    server = postgres_of_version(int(major))
    made = compose.environment_of(SERVICES["postgres"])
    user, database = sql.Identifier(made["POSTGRES_USER"]), sql.Identifier(made["POSTGRES_DB"])
    with psycopg.connect(server.url(), autocommit=True) as connection:
        addresses.set("postgres", 5432, connection.info.port)
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(user))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, user))
        yield server.url(made["POSTGRES_DB"])
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(database))
        connection.execute(sql.SQL("DROP ROLE {}").format(user))


def page(port: int) -> str:
    """Return the metrics page as Prometheus reads it, after checking its form."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=10) as answer:
        text: str = answer.read().decode()
    assert list(text_string_to_metric_families(text))
    return text


def blocks(documentation: Path, language: str) -> str:
    """Return all code blocks of this language, joined."""
    found = re.findall(rf"^```{language}\n(.*?)^```", documentation.read_text(), re.MULTILINE | re.DOTALL)
    assert found
    return "\n".join(found)


def bookies(broker: ComposedPulsar) -> list[str]:
    """Return the names of the broker's bookies."""
    with urllib.request.urlopen(f"{broker.admin_url}/admin/v2/bookies/all", timeout=10) as answer:
        return [bookie["bookieId"] for bookie in json.load(answer)["bookies"]]


def ports_of_producer(url: str, topic: str) -> set[int]:
    """Return the ports that a producer connects to: the URL's, and those that the broker redirects it to."""
    process = psutil.Process()

    def connections() -> set[tuple[int, int]]:
        return {
            (connection.laddr.port, connection.raddr.port)
            for connection in process.net_connections("tcp")
            if connection.raddr and connection.status == psutil.CONN_ESTABLISHED
        }

    before = connections()
    client = pulsar.Client(url, logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error))
    try:
        client.create_producer(topic, schema=EncodedEvents())
        return {remote for _, remote in connections() - before}
    finally:
        client.close()


def rows(database_url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database_url) as connection:
        return connection.execute(query).fetchall()


def events() -> list[Message]:
    now_us = time.time_ns() // 1000
    return [
        Message(
            f"job-{number}",
            encode(
                {
                    **EVENT,
                    "job_id": f"job-{number}",
                    "occurred_at": now_us - number,
                    "state": "completed" if number < COMPLETED else "discarded",
                }
            ),
        )
        for number in range(COMPLETED + DISCARDED)
    ]


def test_the_services_start_in_order_and_events_reach_postgres_and_prometheus(
    image: Path, addresses: Addresses, broker: ComposedPulsar, database_url: str, tmp_path: Path
) -> None:
    """Start all containers, publish an event from the host, scrape every page, and stop."""
    assert is_healthy("pulsar", addresses)
    assert bookies(broker) == [broker.bookie]
    running: dict[str, Container] = {}
    try:
        for name in compose.in_order(SERVICES):
            if "build" not in SERVICES[name]:
                continue
            container = running[name] = Container(name, image, addresses, tmp_path)
            if name in PREPARING:
                assert container.process.wait(120) == 0, container.log()
            else:
                container.wait_healthy()
        assert set(running) == {*PREPARING, *CONSUMING}

        topic = BrokerSettings.model_fields["topic"].default
        from_the_host = f"pulsar://{HOST}:{addresses.of(*published_on_the_host(6650))}"
        assert ports_of_producer(from_the_host, topic) == {addresses.of(*published_on_the_host(6650))}
        publish(from_the_host, topic, events())

        outcomes = "SELECT completed, discarded FROM jobtrail.outcomes_hourly"
        wait_until(
            lambda: rows(database_url, "SELECT count(*) FROM jobtrail.jobs") == [(COMPLETED + DISCARDED,)],
            "the events in Postgres",
            running["aggregator"].log,
        )
        assert rows(
            database_url, f"SELECT sum(completed), sum(discarded) FROM ({outcomes}) AS every_hour"
        ) == [(COMPLETED, DISCARDED)]
        verified = subprocess.run(
            [JOBTRAIL, "verify"],
            env={**os.environ, "JOBTRAIL_DATABASE_URL": database_url},
            capture_output=True,
            text=True,
            check=False,
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr
        wait_until(
            lambda: "jobtrail_attempts_total{" in page(addresses.of("metrics", 9465)),
            "the counts of the metrics consumer",
            running["metrics"].log,
        )

        wait_until(
            lambda: (
                'jobtrail_aggregator_events_total{result="stored"} 10.0'
                in page(addresses.of("aggregator", 9464))
            ),
            "the counts of the aggregator",
            running["aggregator"].log,
        )
        pages = {name: page(addresses.of(name, port)) for _, name, port in compose.scrape_targets()}
        for name in CONSUMING:
            assert re.search(rf'pulsar_subscription_back_log{{[^}}]*subscription="{name}"', pages["pulsar"])
        asked_for = set(re.findall(r"\b(?:jobtrail|pulsar)_[a-z_]+\b", blocks(OPERATING, "promql")))
        asked_for |= set(re.findall(r"\bjobtrail_aggregator_[a-z_]+\b", OPERATING.read_text()))
        assert {name for name in asked_for if not any(name in text for text in pages.values())} == set()

        for name in CONSUMING:
            status, took = running[name].stop()
            assert status == 0, running[name].log()
            assert took < compose.seconds(SERVICES[name]["stop_grace_period"]) / 2
    finally:
        for container in running.values():
            if container.process.poll() is None:
                container.process.kill()
                container.process.wait()


def test_the_image_contains_the_packages_and_their_data(image: Path) -> None:
    """It has every .sql and .avsc file of the packages, but neither tests, nor the demo, nor the code that starts servers."""
    for package in ("schemas", "store"):
        wanted = {
            path.relative_to(compose.ROOT)
            for pattern in ("*.sql", "*.avsc", "*.py")
            for path in (compose.ROOT / package).rglob(pattern)
        }
        assert wanted
        assert {path for path in wanted if not (image / path).is_file()} == set()
    assert (image / "jobtrail" / "py.typed").is_file()
    assert not {"tests", "demo", "servers", "bench"} & {path.name for path in image.iterdir()}
