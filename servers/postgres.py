"""A real Postgres, 15 or 18, on a free port of the loopback address."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import psycopg

from servers import lifeline, processes
from servers.errors import ServerUnavailableError
from servers.folders import make_folder, remove_folder
from servers.ports import HOST, free_ports
from servers.postgres_programs import (
    LOCALE_OPTIONS,
    NEWEST,
    Programs,
    programs,
    reachable,
    unprivileged_user,
)

SUPERUSER = "postgres"
START_TIMEOUT_SECONDS = 60

# Postgres' "immediate shutdown": at once, without writing its data, but it releases its shared memory. That is outside its
# folder; after SIGKILL it stays until the machine restarts.
IMMEDIATE_SHUTDOWN = signal.SIGQUIT

# For tests, which never crash the machine: with these a killed process loses nothing, but a power cut would lose data.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}
DURABLE = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on"}


class PostgresServer:
    """One cluster in its own folder below `parent` (default: the system's temporary folder), removed after the `with` block.

    `durable` keeps commits even through a power cut, as in production (slower). `settings` are added to postgresql.conf.
    """

    def __init__(
        self,
        version: int = NEWEST,
        *,
        durable: bool = False,
        settings: Mapping[str, str] | None = None,
        parent: Path | None = None,
    ) -> None:
        self.version = version
        self._parent = parent
        self._settings = {**(DURABLE if durable else NOT_DURABLE), **(settings or {})}
        (self._port,) = free_ports(1)
        self._user = unprivileged_user()
        self._found = programs(version)
        self._folder: Path | None = None
        self._server: processes.ServerProcess | None = None

    def url(self, database: str = "postgres") -> str:
        """Return the libpq URL of one of its databases, as a superuser."""
        return f"postgresql://{SUPERUSER}@{HOST}:{self._port}/{database}"

    @property
    def pid(self) -> int:
        """Its main process, to measure or signal. Its sessions are children of it."""
        assert self._server is not None, "Postgres is not running"
        return self._server.process.pid

    @property
    def is_running(self) -> bool:
        """Whether its main process is running; a full disk may have ended it."""
        return self._server is not None and self._server.is_running()

    @property
    def log(self) -> Path:
        """The file that it writes its messages to."""
        assert self._folder is not None, "Postgres was never started"
        return self._folder / "postgres.log"

    def start(self) -> None:
        """Start it, and return when it accepts connections. Raises ServerUnavailableError."""
        folder = self._initialised()
        options = {
            "port": str(self._port),
            "listen_addresses": HOST,
            "unix_socket_directories": str(folder),
            "max_connections": "200",
            "max_locks_per_transaction": "256",
            **self._settings,
        }
        self._server = processes.start(
            f"Postgres {self.version}",
            [
                self._programs(folder).path("postgres"),
                *("-D", str(folder / "data")),
                *(word for name, value in options.items() for word in ("-c", f"{name}={value}")),
            ],
            log=folder / "postgres.log",
            directory=folder,
            environment=_environment(),
            user=self._user,
            end_signal=IMMEDIATE_SHUTDOWN,
        )
        self._server.wait_until(self._takes_connections, START_TIMEOUT_SECONDS)

    def stop(self) -> None:
        """Stop it cleanly, and end its sessions. It may be started again."""
        if self._server is not None:
            self._server.stop(signal.SIGINT)
            self._server = None

    def kill(self) -> None:
        """Kill all its processes like a crash. It may be started again, and then recovers."""
        if self._server is not None:
            self._server.kill()
            self._server = None

    def __enter__(self) -> "PostgresServer":
        try:
            self.start()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        # Its data are not needed any more.
        if self._server is not None:
            self._server.stop(IMMEDIATE_SHUTDOWN)
            self._server = None
        self._remove()

    def _initialised(self) -> Path:
        """Return the cluster's folder. Create it the first time."""
        if self._folder is not None:
            return self._folder
        self._folder = folder = make_folder(f"jobtrail-postgres-{self.version}-", self._parent)
        if self._user is not None:
            shutil.chown(folder, self._user, processes.primary_group(self._user))
        command = [
            self._programs(folder).path("initdb"),
            *("--pgdata", str(folder / "data")),
            *("--username", SUPERUSER),
            *("--auth=trust", "--encoding=UTF8", "--no-sync", "--no-instructions"),
            *LOCALE_OPTIONS[self.version],
        ]
        answer = subprocess.run(
            command,
            cwd=folder,
            env=lifeline.marked(_environment()),
            user=self._user,
            group=None if self._user is None else processes.primary_group(self._user),
            extra_groups=None if self._user is None else [],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            raise ServerUnavailableError(
                f"initdb of Postgres {self.version} failed: {answer.stdout}{answer.stderr}"
            )
        return folder

    def _programs(self, folder: Path) -> Programs:
        return reachable(self._found, self._user, folder)

    def _takes_connections(self) -> bool:
        try:
            psycopg.connect(self.url(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _remove(self) -> None:
        if self._folder is not None:
            remove_folder(self._folder)
            self._folder = None


def _environment() -> dict[str, str]:
    """Return our environment without what would change the server (PGDATA, PGPORT, a language, a time zone)."""
    return {"PATH": os.environ["PATH"], "LC_ALL": "C", "TZ": "UTC"}
