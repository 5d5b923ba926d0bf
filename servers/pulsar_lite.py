"""pulsar-lite, the embedded broker, as a separate process, for the demo on a machine without Java.

It has no schema registry, no admin REST and no seek, so it cannot replace the real broker in tests of those.
"""

import importlib.util
import os
import socket
from pathlib import Path

from servers import processes
from servers.errors import ServerUnavailableError
from servers.ports import HOST, free_ports

START_TIMEOUT_SECONDS = 30


class PulsarLiteServer:
    """One broker, its data in a folder of the caller."""

    def __init__(self, data: Path) -> None:
        """Choose the port; `start` does the rest. The folder need not exist, and is not removed."""
        self._data = data.resolve()
        (self._port,) = free_ports(1)
        self._server: processes.ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"pulsar://{HOST}:{self._port}"

    @property
    def pid(self) -> int:
        """Its process, to measure or signal."""
        assert self._server is not None, "pulsar-lite is not running"
        return self._server.process.pid

    def start(self) -> None:
        """Start it, and return when it accepts connections. Raises ServerUnavailableError."""
        self._data.mkdir(parents=True, exist_ok=True)
        command = [
            str(_program()),
            "--addr",
            f"{HOST}:{self._port}",
            "--db-path",
            str(self._data / "broker.db"),
        ]
        self._server = processes.start(
            "pulsar-lite",
            [*command, "--log-level", "warn"],
            log=self._data / "pulsar-lite.log",
            directory=self._data,
            environment=os.environ,
        )
        self._server.wait_until(self._takes_connections, START_TIMEOUT_SECONDS)

    def kill(self) -> None:
        """Kill it like a crash."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def __enter__(self) -> "PulsarLiteServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()  # its data are not needed any more

    def _takes_connections(self) -> bool:
        try:
            socket.create_connection((HOST, self._port), timeout=1).close()
        except OSError:
            return False
        return True


def _program() -> Path:
    # The package is not imported: its starter logs into a fixed file and prints.
    package = importlib.util.find_spec("pulsar_lite")
    if package is None or package.origin is None:
        raise ServerUnavailableError("no pulsar-lite: the package is not installed (`make demo` installs it)")
    program = Path(package.origin).parent / "bin" / "pulsar-lite"
    if not program.exists():
        raise ServerUnavailableError(
            f"no pulsar-lite for this system: expected its program as {program}; the real broker would do: "
            "`make demo BROKER=pulsar`"
        )
    return program
