"""A real Pulsar standalone as a process of its own, on free ports of the loopback address.

`own_pulsar()` is one that the caller may stop, kill and start again; `any_pulsar()` is whichever can be had, for tests
that only use it: the one that JOBTRAIL_TEST_PULSAR_URL names, else Java's, else a Docker engine's.
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

# About 10 s on a quiet machine of two cores. The limit is for one that many share.
START_TIMEOUT_SECONDS = 180

SETTINGS = Path(__file__).with_name("standalone.conf")
LOGGING = Path(__file__).with_name("log4j2.xml")

# Java's quick compiler alone: half the CPU time of a start, and a slower broker; not for measurements.
QUICK_START = ("-XX:TieredStopAtLevel=1",)

# What Pulsar's own start script opens for it.
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
    """A broker that answers: where clients connect, and where its admin REST is."""

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
    """Pulsar by Java: broker and bookie in one process, their data in a folder of the caller's."""

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
        """The file that it prints its warnings to."""
        return self._data / "pulsar.log"

    @property
    def _temporary(self) -> Path:
        """The folder of its temporary files: RocksDB's library is one (13 MB), and SIGKILL leaves it there."""
        return self._data / "tmp"

    @property
    def pid(self) -> int:
        """Its process, to measure or signal."""
        assert self._server is not None, "Pulsar is not running"
        return self._server.process.pid

    def start(self) -> None:
        """Start it and return when it takes messages. Raises ServerUnavailableError."""
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
        """Stop it in order; it may be started again."""
        if self._server is not None:
            self._server.stop(signal.SIGTERM)
            self._server = None

    def kill(self) -> None:
        """Kill it without a word; it may be started again, and then finds what it had acknowledged."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def __enter__(self) -> "PulsarServer":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()  # nobody needs its data any more, and an orderly stop takes seconds

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
    """A broker that somebody else started and will stop."""

    def __init__(self, url: str, admin_url: str) -> None:
        self.url = url
        self.admin_url = admin_url


@contextlib.contextmanager
def any_pulsar(java_options: Sequence[str] = QUICK_START) -> Iterator[Pulsar]:
    """Yield a running broker, whichever can be had. Raises ServerUnavailableError that says what is missing."""
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
    """Yield a running broker of the caller's own; afterwards it and its data are gone.

    `settings` are added to those of standalone.conf.
    Raises ServerUnavailableError that says what is missing.
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
    """Return `lo`, or what this system calls it."""
    return next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
