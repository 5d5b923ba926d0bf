"""Runs the services of docker-compose.yml as processes of this machine, instead of a Docker engine.

Names and ports of containers become addresses of this machine. Commands, environments and health checks are the file's.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from servers import lifeline
from servers.ports import HOST, free_ports
from servers.pulsar import QUICK_START, PulsarServer
from testing.services import wait_until
from tests import compose

SERVICES = compose.services({"POSTGRES_PASSWORD": "s3cret: #$ and more"})

_ADDRESS = re.compile(r"(?<![\w.])(127\.0\.0\.1|0\.0\.0\.0|[a-z]+):(\d+)")
_SETTING_OF_PULSAR = "PULSAR_PREFIX_"

# Settings that the tests' Pulsar gets from its own configuration, but the image's does not: here they must be in the file.
_NOT_IN_THE_IMAGE = frozenset(
    {
        "acknowledgmentAtBatchIndexLevelEnabled",
        "allowEphemeralPorts",
        "exposeTopicLevelMetricsInPrometheus",
        "listeningInterface",
    }
)


class Addresses:
    """Maps each port of each container to a port of this machine."""

    def __init__(self) -> None:
        self._native: dict[tuple[str, int], int] = {}

    def set(self, service: str, port: int, native: int) -> None:
        self._native[service, port] = native

    def of(self, service: str, port: int) -> int:
        """Return the port of this machine for a container's port; choose it at the first call."""
        if (service, port) not in self._native:
            (self._native[service, port],) = free_ports(1)
        return self._native[service, port]

    def in_environment(self, service: str, value: str) -> str:
        """Translate a value of a service's environment: names lead to containers, and 127.0.0.1 is the host with the published ports."""
        ports = {port.container_port for port in compose.published(SERVICES[service])}
        if value.isdecimal() and int(value) in ports:
            return str(self.of(service, int(value)))

        def native(found: re.Match[str]) -> str:
            host, port = found[1], int(found[2])
            if host == "127.0.0.1":
                return f"{HOST}:{self.of(*published_on_the_host(port))}"
            return f"{HOST}:{self.of(service if host == '0.0.0.0' else host, port)}"

        return HOST if value == "0.0.0.0" else _ADDRESS.sub(native, value)

    def inside(self, service: str, word: str) -> str:
        """Translate a word of a command that runs in the container: 127.0.0.1 is the container."""
        return _ADDRESS.sub(lambda found: f"{HOST}:{self.of(service, int(found[2]))}", word)


def published_on_the_host(host_port: int) -> tuple[str, int]:
    """Return the service, and its container's port, that is published on a port of the host."""
    ((service, port),) = (
        (name, port.container_port)
        for name, service in SERVICES.items()
        for port in compose.published(service)
        if port.host_port == host_port
    )
    return service, port


class ComposedPulsar(PulsarServer):
    """Pulsar with the settings of the compose file, on top of the tests' settings that the image has too."""

    def __init__(self, data: Path, addresses: Addresses) -> None:
        super().__init__(data, QUICK_START)
        addresses.set("pulsar", 6650, self._broker_port)
        addresses.set("pulsar", 8080, self._web_port)
        environment = compose.environment_of(SERVICES["pulsar"])
        self._composed = {
            name.removeprefix(_SETTING_OF_PULSAR): addresses.in_environment("pulsar", value)
            for name, value in environment.items()
            if name.startswith(_SETTING_OF_PULSAR)
        }

    @property
    def bookie(self) -> str:
        """Return the name that the bookie must keep, because it finds its data by it."""
        return f"{HOST}:{self._bookie_port}"

    def _settings(self) -> str:
        lines = (line.partition("=") for line in super()._settings().splitlines())
        settings = {name: value for name, sign, value in lines if sign and name not in _NOT_IN_THE_IMAGE}
        return "".join(f"{name}={value}\n" for name, value in {**settings, **self._composed}.items())

    def _command(self) -> list[str]:
        words = super()._command()
        at = words.index("--advertised-address")  # the listeners set it
        return words[:at] + words[at + 2 :]


class Container:
    """A service of the file as a process of this machine, with exactly the file's environment."""

    def __init__(self, name: str, image: Path, addresses: Addresses, folder: Path) -> None:
        self.name = name
        self._service = SERVICES[name]
        self._addresses = addresses
        self._log = folder / f"{name}.log"
        self._environment = {
            "PATH": f"{image / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(image),
            **{
                variable: addresses.in_environment(name, value)
                for variable, value in compose.environment_of(self._service).items()
            },
        }
        with self._log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(image / "bin" / "jobtrail"), *self._command()],
                env=lifeline.marked(self._environment),
                cwd=folder,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def _command(self) -> list[str]:
        entrypoint, *words = compose.command_of(self._service)
        assert entrypoint == "jobtrail"
        return words

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_healthy(self) -> None:
        """Wait until the file's health check succeeds, no longer than the file allows."""
        check = self._service["healthcheck"]
        wait_until(
            self._is_healthy,
            f"{self.name} to be healthy",
            self.log,
            deadline_seconds=compose.seconds(check["start_period"]),
            poll_seconds=0.5,
        )

    def _is_healthy(self) -> bool:
        assert self.process.poll() is None, f"{self.name} ended:\n{self.log()}"
        return is_healthy(self.name, self._addresses, self._environment)

    def stop(self) -> tuple[int, float]:
        """Send SIGTERM; return the exit status, and how many seconds the end took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(compose.seconds(self._service["stop_grace_period"]))
        return status, time.monotonic() - began


def is_healthy(name: str, addresses: Addresses, environment: Mapping[str, str] | None = None) -> bool:
    """Run the health check of a service whose check is a Python program."""
    how, python, *words = SERVICES[name]["healthcheck"]["test"]
    assert (how, python.removesuffix("3")) == ("CMD", "python")
    words = [addresses.inside(name, word) for word in words]
    answer = subprocess.run(
        [sys.executable, *words], env=environment, capture_output=True, check=False, timeout=30
    )
    return answer.returncode == 0
