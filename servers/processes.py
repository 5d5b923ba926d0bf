"""Starting a server's process, waiting until it answers, stopping it, killing it with all its children."""

import atexit
import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from servers.errors import ServerUnavailableError

POLL_SECONDS = 0.05
LOG_LINES_SHOWN = 25

_running: set["ServerProcess"] = set()


@dataclass(eq=False)
class ServerProcess:
    """One running server: its process, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until(self, answers: Callable[[], bool], timeout_seconds: float) -> None:
        """Return when `answers` says so. Raises ServerUnavailableError with the end of the log if it ends or time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not answers():
            status = self.process.poll()
            if status is not None:
                _running.discard(self)
                raise ServerUnavailableError(
                    f"{self.name} ended with status {status} at start.\n{self.end_of_log()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise ServerUnavailableError(
                    f"{self.name} did not answer within {timeout_seconds:g} s of its start.\n{self.end_of_log()}"
                )
            time.sleep(POLL_SECONDS)

    def is_running(self) -> bool:
        return self.process.poll() is None

    def stop(self, polite: signal.Signals, timeout_seconds: float = 30) -> None:
        """Ask it to end with the signal given, and kill it when it does not within the time."""
        self.process.send_signal(polite)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End it and its children by SIGKILL, as a crash would. Returns when they are gone."""
        family = self._family()
        for member in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                member.kill()
        self.process.wait()
        psutil.wait_procs(family, timeout=10)
        _running.discard(self)

    def _family(self) -> list[psutil.Process]:
        try:
            parent = psutil.Process(self.process.pid)
            return [parent, *parent.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def end_of_log(self) -> str:
        """Return the last lines it printed."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]
        return f"The end of {self.log}:\n" + "\n".join(lines)


def start(
    name: str,
    command: Sequence[str],
    *,
    log: Path,
    directory: Path,
    environment: Mapping[str, str],
    user: str | None = None,
) -> ServerProcess:
    """Start a server in a session of its own, so that Ctrl-C in a terminal reaches its starter alone, not the server.

    With `user`, it runs as that user, whatever groups we are in (needs root).
    """
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=dict(environment),
            start_new_session=True,
            user=user,
            group=None if user is None else primary_group(user),
            extra_groups=None if user is None else [],
        )
    server = ServerProcess(name, process, log)
    _running.add(server)
    return server


def first_ended() -> ServerProcess | None:
    """Return a process that was started here and has ended though nobody stopped it; None if there is none."""
    return next((server for server in _running if not server.is_running()), None)


def primary_group(user: str) -> int:
    """Return the id of the user's own group."""
    import pwd  # not there on Windows, where nothing runs as another user

    return pwd.getpwnam(user).pw_gid


@atexit.register
def _leave_nothing_behind() -> None:
    for server in list(_running):
        server.kill()
