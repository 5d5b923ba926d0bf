"""Starts a server's process, waits until it answers, stops it, and kills it with all its children.

A server ends with the program that started it, however that program ends: cleanly through `atexit`, else through the
guardian (`servers/lifeline.py`).
"""

import atexit
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from servers import lifeline
from servers.errors import ServerUnavailableError
from servers.guardian import family, in_sessions

POLL_SECONDS = 0.05
LOG_LINES_SHOWN = 25
KILLED_WITHIN_SECONDS = 10

_running: set["ServerProcess"] = set()


@dataclass(eq=False)
class ServerProcess:
    """One running server: its process, and the file that its output goes to."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    end_signal: signal.Signals = signal.SIGKILL
    _root: psutil.Process = field(init=False, repr=False)
    _key: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._root = psutil.Process(self.process.pid)
        self._key = lifeline.entrust_process(self.process.pid, self.end_signal)
        _running.add(self)

    def wait_until(self, answers: Callable[[], bool], timeout_seconds: float) -> None:
        """Return when `answers` is true. Raises ServerUnavailableError with the end of the log if the server ends or time is up."""
        deadline = time.monotonic() + timeout_seconds
        while not answers():
            status = self.process.poll()
            if status is not None:
                self.kill()  # the processes it left behind
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
        """Ask it to end with this signal, and kill it if it does not end in time."""
        self.process.send_signal(polite)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout_seconds)
        self.kill()

    def kill(self) -> None:
        """End it, its children and its session with SIGKILL, like a crash. Returns when they are gone."""
        deadline = time.monotonic() + KILLED_WITHIN_SECONDS
        members = family(None, [self._root])
        while members and time.monotonic() < deadline:
            for member in members:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            self.process.wait()
            psutil.wait_procs(members - {self._root}, timeout=1)
            members = in_sessions([self._root])  # processes started meanwhile
        self.process.wait()
        if self in _running:
            _running.discard(self)
            lifeline.take_back(self._key)

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
    end_signal: signal.Signals = signal.SIGKILL,
) -> ServerProcess:
    """Start a server in its own session, so that Ctrl-C in a terminal reaches only its starter, not the server.

    With `user`, it runs as that user, without our groups (needs root). `end_signal` is the signal on which it ends at once
    and cleans up, if there is one: it is sent when we are gone. Raises ServerUnavailableError if no guardian can be started
    to end it after us.
    """
    marked = lifeline.marked(environment)
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=directory,
            env=marked,
            start_new_session=True,
            user=user,
            group=None if user is None else primary_group(user),
            extra_groups=None if user is None else [],
        )
    return ServerProcess(name, process, log, end_signal)


def first_ended() -> ServerProcess | None:
    """Return a process that was started here and has ended without being stopped; None if there is none."""
    return next((server for server in _running if not server.is_running()), None)


def primary_group(user: str) -> int:
    """Return the id of the user's primary group."""
    import pwd  # missing on Windows, where nothing runs as another user

    return pwd.getpwnam(user).pw_gid


@atexit.register
def _leave_nothing_behind() -> None:
    for server in list(_running):
        server.stop(server.end_signal)


# A forked child is another program: the servers belong to its parent.
os.register_at_fork(after_in_child=_running.clear)
