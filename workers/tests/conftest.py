"""Brokers for the SDK's tests: pulsar-lite (no schema registry) beside the real Pulsar that all tests share."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from pulsar import Client, FileLogger, LoggerLevel, PulsarException
from pulsar_lite.binary_finder import find_pulsar_lite_binary

import jobtrail
from jobtrail import _runtime
from servers.ports import HOST, free_ports
from servers.pulsar import Pulsar
from testing.services import wait_until
from workers.tests.reading import Topic


@pytest.fixture(autouse=True)
def spool_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Set a spool directory for the tests, so that no events are left in the user's state directory."""
    monkeypatch.setenv("JOBTRAIL_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture(scope="session")
def pulsar_url(pulsar: Pulsar) -> str:
    """Return the URL of the real Pulsar."""
    return pulsar.url


@pytest.fixture(scope="session")
def lite_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a pulsar-lite."""
    with LiteServer(tmp_path_factory.mktemp("pulsar-lite")) as server:
        yield server.url


@pytest.fixture(params=["pulsar-lite", "pulsar"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Run the test on both brokers."""
    return str(request.getfixturevalue("lite_url" if request.param == "pulsar-lite" else "pulsar_url"))


@pytest.fixture
def topic(lite_url: str) -> Topic:
    """Return a new topic on pulsar-lite."""
    return Topic(lite_url, new_topic())


@pytest.fixture
def events(topic: Topic) -> Iterator[Topic]:
    """Set up the SDK for a new topic; `events.read()` flushes and returns the published events."""
    fresh()
    jobtrail.configure(
        namespace="tests", pulsar_url=topic.url, topic=topic.name, linger_seconds=0, spool_after_seconds=60
    )
    yield topic
    jobtrail.shutdown(5)
    fresh()


@pytest.fixture
def unsent() -> Iterator[None]:
    """Set up the SDK for a broker that does not exist, without a spool."""
    fresh()
    (port,) = free_ports(1)
    jobtrail.configure(
        namespace="tests", pulsar_url=f"pulsar://{HOST}:{port}", shutdown_timeout_seconds=0, spool=False
    )
    yield
    jobtrail.shutdown(0)
    fresh()


def fresh() -> None:
    """Forget settings, sender and counts, as in a process that has just started."""
    jobtrail.shutdown(0)
    _runtime._runtime.reset()


def new_topic() -> str:
    return f"persistent://public/default/sdk-{uuid.uuid4().hex}"


class LiteServer:
    """A pulsar-lite process that can be stopped and started again on the same port and data."""

    def __init__(self, data: Path) -> None:
        self._data = data
        (self._port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"pulsar://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "pulsar-lite is not running"
        return self._process.pid

    def start(self) -> None:
        command = [
            find_pulsar_lite_binary(),
            *("--addr", f"{HOST}:{self._port}"),
            *("--db-path", str(self._data / "db")),
        ]
        with (self._data / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._data, env={**os.environ, "RUST_LOG": "warn"}
            )
        wait_until(lambda: _answers(self.url), "pulsar-lite to answer", deadline_seconds=30)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def __enter__(self) -> "LiteServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()


def _answers(url: str) -> bool:
    client = Client(url, operation_timeout_seconds=2, logger=FileLogger(LoggerLevel.Error, os.devnull))
    try:
        client.get_topic_partitions("persistent://public/default/anything")
    except PulsarException:
        return False
    finally:
        client.shutdown()
    return True
