"""The site of a scenario: the servers, with a topic and a database of its own."""

import contextlib
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg

from broker import provision
from servers import lifeline
from servers.folders import temporary_folder
from servers.postgres import PostgresServer
from servers.pulsar import QUICK_START, OwnPulsar, own_pulsar
from settings.provision import ProvisionSettings
from testing.databases import Databases
from tests.faults.director import Director
from tests.faults.maintenance import Rebuilding
from tests.faults.replicas import Fleet
from tests.faults.workers import SdkWorkers

KEEP_ALIVE_SECONDS = 4
"""How often the broker pings a client; it drops a client that does not answer for twice as long."""
PARTITIONS = 3
SMALL_DISK_MEGABYTES = 640
SUBSCRIPTION = "aggregator"


class Servers:
    """A broker, and a Postgres on an ordinary disk or on a small one of its own; started at first use."""

    def __init__(self) -> None:
        self._open = contextlib.ExitStack()
        self._databases: dict[bool, Databases] = {}
        self._postgres: dict[bool, PostgresServer] = {}
        self._broker: OwnPulsar | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "Servers":
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    @property
    def broker(self) -> OwnPulsar:
        with self._lock:
            if self._broker is None:
                settings = {"keepAliveIntervalSeconds": KEEP_ALIVE_SECONDS}
                self._broker = self._open.enter_context(own_pulsar(QUICK_START, settings))
            return self._broker

    def postgres(self, *, small_disk: bool) -> PostgresServer:
        """Return a durable Postgres. On a small disk, the parent of its folder is the mount point."""
        with self._lock:
            if small_disk not in self._postgres:
                parent = self._open.enter_context(small_file_system()) if small_disk else None
                server = self._open.enter_context(
                    PostgresServer(
                        durable=True,
                        parent=parent,
                        settings={"max_wal_size": "64MB", "min_wal_size": "32MB"} if small_disk else None,
                    )
                )
                self._postgres[small_disk] = server
                self._databases[small_disk] = Databases(server)
            return self._postgres[small_disk]

    @contextlib.contextmanager
    def database(self, *, small_disk: bool) -> Iterator[str]:
        """Yield the URL of a new, migrated database, which is dropped afterwards."""
        server = self.postgres(small_disk=small_disk)
        with contextlib.ExitStack() as opened:
            with self._lock:
                url = opened.enter_context(self._databases[small_disk].migrated())
            try:
                yield url
            finally:
                if not server.is_running:
                    server.start()


@contextlib.contextmanager
def small_file_system() -> Iterator[Path]:
    """Yield a folder with a size of SMALL_DISK_MEGABYTES. Raises OSError if this user may not mount it."""
    with temporary_folder("jobtrail-small-disk-") as folder:
        folder.chmod(0o755)
        unmount = ["umount", "--lazy", str(folder)]
        options = f"size={SMALL_DISK_MEGABYTES}m,mode=755"
        key = lifeline.entrust_command(unmount)
        answer = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "jobtrail", str(folder)],
            capture_output=True,
            text=True,
            check=False,
        )
        if answer.returncode:
            lifeline.take_back(key)
            raise OSError(f"cannot mount a small file system: {answer.stderr.strip()}")
        try:
            yield folder
        finally:
            subprocess.run(unmount, check=True)
            lifeline.take_back(key)


def can_mount() -> bool:
    """Return whether this user may mount a small file system."""
    try:
        with small_file_system():
            return True
    except OSError:
        return False


@dataclass
class Site:
    """One scenario's part of the servers, and the processes that use it."""

    servers: Servers
    topic: str
    database_url: str
    postgres: PostgresServer
    director: Director
    fleet: Fleet
    rebuilding: Rebuilding
    workers: SdkWorkers
    notes: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def observer(self) -> Iterator[psycopg.Connection[Any]]:
        """Yield a direct session on Postgres for the test, in autocommit."""
        with psycopg.connect(self.database_url, autocommit=True, connect_timeout=10) as connection:
            yield connection

    def subscription(self) -> list[dict[str, Any]]:
        """Return the broker's statistics of the subscription per partition; some may be missing while the broker starts."""
        path = self.topic.replace("://", "/", 1)
        try:
            answer = httpx.get(
                f"{self.servers.broker.admin_url}/admin/v2/{path}/partitioned-stats?perPartition=true",
                timeout=30,
            )
            answer.raise_for_status()
        except httpx.HTTPError:
            return []
        partitions = answer.json().get("partitions", {}).values()
        return [
            one["subscriptions"][SUBSCRIPTION] for one in partitions if SUBSCRIPTION in one["subscriptions"]
        ]

    def backlog(self) -> int | None:
        """Return the number of unacknowledged entries; None while the statistics of a partition are missing.

        The broker's count of unacknowledged messages cannot be used: after a dropped consumer came back, it has stayed at
        some hundred with every entry acknowledged.
        """
        found = self.subscription()
        if len(found) < PARTITIONS:
            return None
        return sum(int(one["msgBacklog"]) for one in found)


def provisioned(broker: OwnPulsar, name: str) -> str:
    """Provision the topic of a scenario, and return it."""
    settings = ProvisionSettings.load(
        pulsar_url=broker.url,
        pulsar_admin_url=broker.admin_url,
        topic=f"persistent://faults/{name}-{time.time_ns()}/job-events",
        provision_partitions=PARTITIONS,
        provision_subscriptions=(SUBSCRIPTION,),
    )
    provision.run(settings, check=False)
    return settings.topic
