"""Pulsar from its image, for machines with a Docker engine but no Java."""

import shutil
import subprocess
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

from servers import lifeline
from servers.errors import ServerUnavailableError
from servers.ports import HOST, free_ports
from servers.pulsar_health import answers

# These name network interfaces of the machine; the container needs the image's own values.
NOT_IN_A_CONTAINER = frozenset({"allowLoopback", "allowEphemeralPorts"})


def engine_problem() -> str | None:
    """Return what is missing of a Docker engine, or None. The command may exist without an engine."""
    if shutil.which("docker") is None:
        return "no `docker` on PATH"
    answer = subprocess.run(["docker", "info"], capture_output=True, text=True, check=False)
    if answer.returncode:
        return "`docker info` finds no engine"
    return None


class DockerPulsar:
    """Pulsar in a container, which is removed with its data at the end, or at the latest by our guardian."""

    def __init__(
        self,
        image: str,
        settings: Path,
        start_timeout_seconds: float,
        added_settings: Mapping[str, object] | None = None,
    ) -> None:
        self._image = image
        self._added_settings = dict(added_settings or {})
        self._settings = settings
        self._start_timeout_seconds = start_timeout_seconds
        self._name = f"jobtrail-pulsar-{uuid.uuid4().hex[:12]}"
        self._broker_port, self._web_port = free_ports(2)
        self._exists = False
        self._key = ""

    @property
    def url(self) -> str:
        return f"pulsar://{HOST}:{self._broker_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self._web_port}"

    def start(self) -> None:
        """Start it, and return when it accepts messages. Raises ServerUnavailableError."""
        if self._exists:
            _docker("start", self._name)
        else:
            self._create()
        deadline = time.monotonic() + self._start_timeout_seconds
        while not answers(self.admin_url):
            if time.monotonic() > deadline:
                raise ServerUnavailableError(
                    f"{self._image} did not answer within {self._start_timeout_seconds:g} s.\n"
                    + _docker("logs", "--tail", "25", self._name)
                )
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop it cleanly. It may be started again."""
        _docker("stop", self._name)

    def kill(self) -> None:
        """Kill it like a crash. It may be started again."""
        _docker("kill", self._name)

    def __enter__(self) -> "DockerPulsar":
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        self._remove()

    def _create(self) -> None:
        ports = (self._broker_port, self._web_port)
        settings = {
            **self._read_settings(),
            **self._added_settings,
            "brokerServicePort": str(ports[0]),
            "webServicePort": str(ports[1]),
        }
        # The image's script copies variables with this prefix into its settings.
        variables = [f"--env=PULSAR_PREFIX_{name}={value}" for name, value in settings.items()]
        published = [f"--publish={HOST}:{port}:{port}" for port in ports]
        command = (
            "bin/apply-config-from-env.py conf/standalone.conf && "
            f"exec bin/pulsar standalone --no-functions-worker --no-stream-storage --advertised-address {HOST}"
        )
        self._key = lifeline.entrust_command(["docker", *self._removal()])
        self._exists = True
        _docker(
            *("run", "--detach", "--name", self._name, "--env=PULSAR_MEM=-Xmx1g"),
            *variables,
            *published,
            *(self._image, "sh", "-c", command),
        )

    def _read_settings(self) -> dict[str, str]:
        lines = (line.strip() for line in self._settings.read_text().splitlines())
        pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
        return {name: value for name, _, value in pairs if name not in NOT_IN_A_CONTAINER}

    def _remove(self) -> None:
        if self._exists:
            _docker(*self._removal())
            self._exists = False
            lifeline.take_back(self._key)

    def _removal(self) -> list[str]:
        return ["rm", "--force", "--volumes", self._name]


def _docker(*words: str) -> str:
    answer = subprocess.run(["docker", *words], capture_output=True, text=True, check=False)
    if answer.returncode:
        raise ServerUnavailableError(
            f"`docker {words[0]}` ended with status {answer.returncode}: {answer.stderr.strip()}"
        )
    return answer.stdout + answer.stderr
