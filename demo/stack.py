"""Starts what the demo runs on: a broker, a Postgres, and jobtrail's two consumers, each in its own process."""

import contextlib
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from demo.errors import DemoError
from demo.screen import Screen
from schemas.redaction import shown_url
from servers import processes
from servers.ports import HOST, free_ports
from servers.postgres import PostgresServer
from servers.pulsar import QUICK_START, own_pulsar
from servers.pulsar_lite import PulsarLiteServer

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = Path(sys.executable).parent
STUCK_FLOOR_SECONDS = "3"

_READY_TIMEOUT_SECONDS = 60
_STOP_TIMEOUT_SECONDS = 10


@dataclass(frozen=True)
class Stack:
    """The running services. ``settings`` are the JOBTRAIL_… variables with their addresses."""

    settings: Mapping[str, str]
    aggregator_url: str
    metrics_url: str

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment for a process of the demo."""
        return {**os.environ, **self.settings, **more}

    def command(self, *words: str) -> str:
        """Run a `jobtrail` command and return its output. Raises DemoError when it could not answer."""
        answer = subprocess.run(
            [str(PROGRAMS / "jobtrail"), *words],
            env=self.environment(),
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        if answer.returncode not in (0, 1):
            raise DemoError(
                f"`jobtrail {' '.join(words)}` ended with status {answer.returncode}: {answer.stderr.strip()}"
            )
        return answer.stdout


@contextlib.contextmanager
def stack(directory: Path, broker: str, screen: Screen) -> Iterator[Stack]:
    """Start everything in order and yield it; stop everything at the end of the block.

    The consumers subscribe before the first event is published: pulsar-lite has no other way to create a subscription.
    Raises ServerUnavailableError, DemoError.
    """
    with contextlib.ExitStack() as parts:
        aggregator_port, metrics_port = free_ports(2)
        with screen.step("Postgres 18") as said:
            postgres = parts.enter_context(PostgresServer())
            said(_address(postgres.url()))
        settings = {
            "JOBTRAIL_DATABASE_URL": postgres.url(),
            "JOBTRAIL_STUCK_FLOOR_SECONDS": STUCK_FLOOR_SECONDS,
            "JOBTRAIL_AGGREGATOR_PORT": str(aggregator_port),
            "JOBTRAIL_METRICS_PORT": str(metrics_port),
            # Not in the user's own folders, so that nothing is left behind.
            "JOBTRAIL_SPOOL_DIR": str(directory / "spool"),
        }
        settings |= parts.enter_context(_BROKERS[broker](directory, screen))
        running = Stack(settings, f"http://{HOST}:{aggregator_port}", f"http://{HOST}:{metrics_port}")
        with screen.step("jobtrail migrate") as said:
            said(f"{len(running.command('migrate').splitlines())} migrations")
        if broker == "pulsar":
            with screen.step("jobtrail provision") as said:
                said(f"{len(running.command('provision').splitlines())} things set up")
        with screen.step("jobtrail aggregate, metrics") as said:
            consumers = {
                running.aggregator_url: _consumer(directory, running, "aggregate"),
                running.metrics_url: _consumer(directory, running, "metrics", "--port", str(metrics_port)),
            }
            started = {url: parts.enter_context(consumer) for url, consumer in consumers.items()}
            for url, process in started.items():
                process.wait_until(partial(_is_ready, url), _READY_TIMEOUT_SECONDS)
            said(f"metrics on {_address(running.metrics_url)}")
        yield running


@contextlib.contextmanager
def _pulsar_lite(directory: Path, screen: Screen) -> Iterator[dict[str, str]]:
    with screen.step("pulsar-lite") as said:
        server = PulsarLiteServer(directory / "broker")
        server.start()
        said(_address(server.url))
    try:
        # It has no schema registry, so messages are decoded with the bundled schema.
        yield {"JOBTRAIL_PULSAR_URL": server.url, "JOBTRAIL_SCHEMA_REGISTRY": "bundled"}
    finally:
        server.kill()


@contextlib.contextmanager
def _pulsar(directory: Path, screen: Screen) -> Iterator[dict[str, str]]:
    with contextlib.ExitStack() as server:
        with screen.step("Apache Pulsar") as said:
            pulsar = server.enter_context(own_pulsar(QUICK_START))
            said(_address(pulsar.url))
        yield {"JOBTRAIL_PULSAR_URL": pulsar.url, "JOBTRAIL_PULSAR_ADMIN_URL": pulsar.admin_url}


_BROKERS = {"lite": _pulsar_lite, "pulsar": _pulsar}
BROKERS = tuple(_BROKERS)


@contextlib.contextmanager
def _consumer(directory: Path, running: Stack, *words: str) -> Iterator[processes.ServerProcess]:
    process = processes.start(
        f"jobtrail {words[0]}",
        [str(PROGRAMS / "jobtrail"), *words],
        log=directory / f"{words[0]}.log",
        directory=ROOT,
        environment=running.environment(),
    )
    try:
        yield process
    finally:
        process.stop(signal.SIGTERM, _STOP_TIMEOUT_SECONDS)


def _address(url: str) -> str:
    """Host and port of a URL."""
    return shown_url(url).partition("//")[2].partition("/")[0]


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310  # our own service
            return bool(answer.status == 200)
    except OSError:
        return False
