"""The aggregators under test: processes, each with its own paths to the broker and to Postgres.

A replica that ends by itself, without being asked, is a failure of the scenario.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from testing.services import Service
from tests.faults.network import Path as NetworkPath
from tests.faults.network import pulsar_path

STOP_SECONDS = 90


class Replica:
    """One aggregator."""

    def __init__(self, number: int, settings: Mapping[str, str], database_url: str, log: Path) -> None:
        """``settings`` have the servers' addresses; the process gets those of its paths."""
        self.number = number
        self.to_broker = pulsar_path(settings["JOBTRAIL_PULSAR_URL"])
        self.to_database = NetworkPath(_port(database_url))
        self.to_broker.let_pass()
        self.to_database.let_pass()
        self.stopped = False
        self.expected_to_end = False
        self.service = Service(
            "aggregate",
            {
                **settings,
                "JOBTRAIL_PULSAR_URL": _through(settings["JOBTRAIL_PULSAR_URL"], self.to_broker.port),
                "JOBTRAIL_DATABASE_URL": _through(database_url, self.to_database.port),
            },
            log,
        )

    @property
    def pid(self) -> int:
        return self.service.process.pid

    def pause(self) -> None:
        """Send SIGSTOP."""
        self.stopped = True
        self.service.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Send SIGCONT, if it still exists."""
        self.stopped = False
        with contextlib.suppress(ProcessLookupError):
            self.service.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it, and close its paths."""
        self.expected_to_end = True
        self.service.kill()
        self.close_paths()

    def was_starting(self) -> bool:
        """Return whether its log was empty: Python was still importing, and SIGTERM was not handled yet."""
        return self.service.log.stat().st_size == 0

    def close_paths(self) -> None:
        """Reset its remaining connections."""
        for path in (self.to_broker, self.to_database):
            path.refuse()
            path.let_go()


class Fleet:
    """The replicas of one scenario. Only the scenario's thread uses it."""

    def __init__(self, settings: Mapping[str, str], database_url: str, folder: Path) -> None:
        self._settings = settings
        self._database_url = database_url
        self._folder = folder
        self._started = 0
        self.replicas: list[Replica] = []
        self.ended_by_themselves: list[str] = []

    def join(self) -> Replica:
        """Start one more replica."""
        self._started += 1
        log = self._folder / f"aggregator-{self._started}.log"
        replica = Replica(self._started, self._settings, self._database_url, log)
        self.replicas.append(replica)
        return replica

    def by_pid(self, pid: int) -> Replica | None:
        """Return the replica with this process id, if any."""
        return next((replica for replica in self.replicas if replica.pid == pid), None)

    def working(self) -> list[Replica]:
        """Return the replicas that are neither stopped nor leaving."""
        return [one for one in self.replicas if not one.stopped and not one.expected_to_end]

    def kill(self, replica: Replica) -> None:
        """Kill the replica."""
        replica.kill()
        if replica in self.replicas:
            self.replicas.remove(replica)

    def leave(self, replica: Replica) -> None:
        """Send SIGTERM; the replica ends after its current batches, and `tend` records it."""
        replica.expected_to_end = True
        replica.service.process.send_signal(signal.SIGTERM)

    def tend(self) -> None:
        """Record the replicas that have ended, and replace those that should not have."""
        for replica in list(self.replicas):
            status = replica.service.process.poll()
            if status is None:
                continue
            self.replicas.remove(replica)
            replica.close_paths()
            if replica.expected_to_end and (
                status == 0 or (status == -signal.SIGTERM and replica.was_starting())
            ):
                continue
            self.ended_by_themselves.append(
                f"replica {replica.number} ended with status {status}:\n{replica.service.end_of_log()}"
            )
            if not replica.expected_to_end:
                self.join()

    def stop_all(self) -> None:
        """Send SIGTERM to all, and record those that fail."""
        for replica in self.replicas:
            self.leave(replica)
        for replica in self.replicas:
            timer = threading.Timer(STOP_SECONDS, os.kill, [replica.pid, signal.SIGKILL])
            timer.start()
            replica.service.process.wait()
            timer.cancel()
        self.tend()

    def kill_all(self) -> None:
        """Kill all remaining replicas."""
        for replica in list(self.replicas):
            replica.resume()
            self.kill(replica)


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None, f"expected a URL with a port, got {url}"
    return port


def _through(url: str, port: int) -> str:
    return url.replace(f":{_port(url)}", f":{port}", 1)
