"""A real Pulsar standalone as a separate process, on free ports of the loopback address.

`own_pulsar()` gives one that the caller may stop, kill and start again. `any_pulsar()` gives any that is available, for tests
that only use it: the one that JOBTRAIL_TEST_PULSAR_URL names, else one with Java, else one in Docker.
"""

import contextlib
import os
import shutil
import signal
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from servers import docker, processes
from servers.errors import ServerUnavailableError
from servers.folders import temporary_folder
from servers.ports import HOST, free_ports
from servers.pulsar_health import answers, is_healthy
from servers.pulsar_jars import jars, java_problem, maven_problem, pulsar_version

URL_VARIABLE = "JOBTRAIL_TEST_PULSAR_URL"
ADMIN_URL_VARIABLE = "JOBTRAIL_TEST_PULSAR_ADMIN_URL"

# About 10 s on an idle machine with two cores. The limit is for busy machines.
START_TIMEOUT_SECONDS = 180

SETTINGS = Path(__file__).with_name("standalone.conf")
LOGGING = Path(__file__).with_name("log4j2.xml")

# Only Java's quick compiler: half the CPU time of a start, but a slower broker; not for measurements.
QUICK_START = ("-XX:TieredStopAtLevel=1",)

# The packages that Pulsar's own start script opens.
OPENED_MODULES = (
    "java.base/java.lang",
    "java.base/java.nio",
    "java.base/java.util.zip",
    "java.base/jdk.internal.misc",
    "java.base/jdk.internal.platform",
    "java.base/sun.net",
    "java.base/sun.nio.ch",
    "java.management/sun.management",
    "jdk.management/com.sun.management.internal",
)


class Pulsar(Protocol):
    """A running broker: the address for clients, and that of its admin REST."""

    @property
    def url(self) -> str: ...

    @property
    def admin_url(self) -> str: ...


class OwnPulsar(Pulsar, Protocol):
    """A broker that may be stopped, killed, and started again on the same data and ports."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def kill(self) -> None: ...


class PulsarServer:
    """Pulsar with Java: broker and bookie in one process, their data in a folder of the caller."""

    def __init__(
        self, data: Path, java_options: Sequence[str] = (), settings: Mapping[str, object] | None = None
    ) -> None:
        """Choose the ports; `start` does the rest. The folder need not exist, and is not removed.

        `settings` are added to those of standalone.conf.
        """
        self._data = data.resolve()
        self._java_options = tuple(java_options)
        self._added_settings = dict(settings or {})
        self._broker_port, self._web_port, self._bookie_port = free_ports(3)
        self._server: processes.ServerProcess | None = None

    @property
    def url(self) -> str:
        return f"pulsar://{HOST}:{self._broker_port}"

    @property
    def admin_url(self) -> str:
        return f"http://{HOST}:{self._web_port}"

    @property
    def log(self) -> Path:
        """The file with its warnings."""
        return self._data / "pulsar.log"

    @property
    def _temporary(self) -> Path:
        """The folder of its temporary files. One is RocksDB's library (13 MB), which stays after SIGKILL."""
        return self._data / "tmp"

    @property
    def pid(self) -> int:
        """Its process, to measure or signal."""
        assert self._server is not None, "Pulsar is not running"
        return self._server.process.pid

    def start(self) -> None:
        """Start it, and return when it accepts messages. Raises ServerUnavailableError."""
        self._temporary.mkdir(parents=True, exist_ok=True)
        (self._data / "standalone.conf").write_text(self._settings())
        self._server = processes.start(
            f"Pulsar {pulsar_version()}",
            self._command(),
            log=self.log,
            directory=self._data,
            environment=os.environ,
        )
        self._server.wait_until(lambda: answers(self.admin_url), START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Stop it cleanly. It may be started again."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM)
            self._server = None

    def kill(self) -> None:
        """Kill it like a crash. It may be started again, and then has everything it had acknowledged."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def __enter__(self) -> "PulsarServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()  # its data are not needed any more, and a clean stop takes seconds

    def _settings(self) -> str:
        addresses = {
            "bindAddress": HOST,
            "brokerServicePort": self._broker_port,
            "webServicePort": self._web_port,
            "listeningInterface": _loopback_interface(),
            **self._added_settings,
        }
        return SETTINGS.read_text() + "".join(f"{name}={value}\n" for name, value in addresses.items())

    def _command(self) -> list[str]:
        java = shutil.which("java")
        assert java is not None
        opened = [word for module in OPENED_MODULES for word in ("--add-opens", f"{module}=ALL-UNNAMED")]
        return [
            java,
            "-Xmx1g",
            "-XX:MaxDirectMemorySize=1g",
            "-XX:+ExitOnOutOfMemoryError",
            *self._java_options,
            *opened,
            "-Dio.netty.tryReflectionSetAccessible=true",
            f"-Djava.io.tmpdir={self._temporary}",
            f"-Dlog4j2.configurationFile={LOGGING}",
            "-cp",
            f"{jars()}/*",
            "org.apache.pulsar.PulsarStandaloneStarter",
            *("--config", "standalone.conf"),
            *("--advertised-address", HOST),
            *("--metadata-dir", str(self._data / "metadata")),
            *("--bookkeeper-dir", str(self._data / "bookkeeper")),
            *("--bookkeeper-port", str(self._bookie_port)),
            "--no-functions-worker",
            "--no-stream-storage",
        ]


class ExternalPulsar:
    """A broker that was started elsewhere and is not stopped here."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self.admin_url = admin_url


@contextlib.contextmanager
def any_pulsar(java_options: Sequence[str] = QUICK_START) -> Iterator[Pulsar]:
    """Yield any running broker that is available. Raises ServerUnavailableError with what is missing."""
    url, admin_url = os.environ.get(URL_VARIABLE), os.environ.get(ADMIN_URL_VARIABLE)
    if not url:
        with own_pulsar(java_options) as pulsar:
            yield pulsar
        return
    if not admin_url:
        raise ServerUnavailableError(
            f"{URL_VARIABLE} is set and {ADMIN_URL_VARIABLE} is not: set it, http://host:8080 or so"
        )
    if not is_healthy(admin_url):
        raise ServerUnavailableError(f"no healthy Pulsar answers at {ADMIN_URL_VARIABLE}={admin_url}")
    yield ExternalPulsar(url, admin_url)


@contextlib.contextmanager
def own_pulsar(
    java_options: Sequence[str] = (), settings: Mapping[str, object] | None = None
) -> Iterator[OwnPulsar]:
    """Yield a running broker for the caller alone. Remove it and its data afterwards.

    `settings` are added to those of standalone.conf. Raises ServerUnavailableError with what is missing.
    """
    problems = [problem for problem in (java_problem(), maven_problem()) if problem]
    if not problems:
        with (
            temporary_folder("jobtrail-pulsar-") as data,
            PulsarServer(data, java_options, settings) as server,
        ):
            yield server
        return
    engine_problem = docker.engine_problem()
    if engine_problem:
        raise ServerUnavailableError(
            f"cannot start Pulsar {pulsar_version()}: {'; '.join(problems)}. Instead a Docker engine would do "
            f"({engine_problem}), and for most tests a broker named by {URL_VARIABLE} and {ADMIN_URL_VARIABLE}."
        )
    with docker.DockerPulsar(
        f"apachepulsar/pulsar:{pulsar_version()}", SETTINGS, START_TIMEOUT_SECONDS, settings
    ) as server:
        yield server


def _loopback_interface() -> str:
    """Return `lo`, or this system's name for it."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
