"""Runs the product's services as processes, started as a user would: by the `jobtrail` command."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from servers.ports import HOST, free_ports

_DEADLINE_SECONDS = 90
_POLL_SECONDS = 0.05

JOBTRAIL = str(Path(sys.executable).with_name("jobtrail"))


class Service:
    """A running `jobtrail aggregate` or `jobtrail metrics`."""

    def __init__(self, command: str, settings: Mapping[str, str], log: Path) -> None:
        """``settings`` are environment variables; the port is chosen here."""
        (self.port,) = free_ports(1)
        self.log = log
        # Tests use events from long ago, so retention is off unless a test sets it.
        kept = {"JOBTRAIL_RETENTION_DAYS": "0"}
        environment = {**os.environ, **kept, **settings, f"JOBTRAIL_{_PORTS[command]}": str(self.port)}
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [JOBTRAIL, command], env=environment, stdout=output, stderr=subprocess.STDOUT
            )

    def get(self, path: str) -> tuple[int, str]:
        """Return status and text of one of its pages; status 0 while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://{HOST}:{self.port}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def wait_ready(self) -> None:
        """Wait until /readyz answers 200; fail with the log when the process ends or time is up."""
        wait_until(
            lambda: self._alive() and self.get("/readyz")[0] == 200,
            "the service to be ready",
            self.end_of_log,
        )

    def stop(self) -> int:
        """Stop it with SIGTERM and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(_DEADLINE_SECONDS)

    def kill(self) -> None:
        """Kill it with SIGKILL and wait until it is gone."""
        self.process.kill()
        self.process.wait()

    def end_of_log(self) -> str:
        """Return the last lines of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def _alive(self) -> bool:
        status = self.process.poll()
        assert status is None, f"the service ended with status {status}:\n{self.end_of_log()}"
        return True


_PORTS = {"aggregate": "AGGREGATOR_PORT", "metrics": "METRICS_PORT"}


@contextmanager
def service(command: str, settings: Mapping[str, str], log: Path) -> Iterator[Service]:
    """Yield a ready service; kill it at the end of the block if it still runs."""
    running = Service(command, settings, log)
    try:
        running.wait_ready()
        yield running
    finally:
        if running.process.poll() is None:
            running.kill()


def wait_until(
    holds: Callable[[], bool],
    what: str,
    story: Callable[[], str] = lambda: "",
    deadline_seconds: float = _DEADLINE_SECONDS,
    poll_seconds: float = _POLL_SECONDS,
) -> None:
    """Wait until the condition holds; fail, with the text of ``story``, when the time is up."""
    end = time.monotonic() + deadline_seconds
    while not holds():
        assert time.monotonic() < end, f"waited {deadline_seconds} s for {what}\n{story()}"
        time.sleep(poll_seconds)
