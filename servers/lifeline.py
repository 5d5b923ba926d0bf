"""The lifeline: ties processes, folders and ports to the life of the program that uses them.

A program that starts servers has a guardian (`servers/guardian.py`), which ends and removes everything entrusted here when
the program is gone, however it ended. `begin` starts it; so does every other function here if it is not running.

A process that inherits this program's environment after `begin` has the mark, and needs nothing more. For a process with
another environment, use `marked`.
"""

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from servers import guardian
from servers.errors import ServerUnavailableError
from servers.guardian import MARK_VARIABLE

END_WITH_VARIABLE = "SERVERS_END_WITH"
"""Id of the process whose end also ends this program: the Makefile sets that of its `make`."""

_keys = itertools.count(1)


class _Guardian:
    """This program's end of the socket pair, and what was entrusted, to be repeated to a second guardian."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._end_with = os.environ.pop(END_WITH_VARIABLE, None)
        self._entrusted: dict[str, tuple[str, object]] = {}
        self._held: list[socket.socket] = []
        os.environ[MARK_VARIABLE] = ":".join(filter(None, [os.environ.get(MARK_VARIABLE), self._mark]))
        self._socket = self._start()

    def entrust(self, key: str, kind: str | None, what: object) -> None:
        """Set the value of a key, or remove the key if ``kind`` is None."""
        if kind is None:
            self._entrusted.pop(key, None)
        else:
            self._entrusted[key] = (kind, what)
        self._send(_line(key, kind, what), [])

    def hold(self, shared: socket.socket) -> None:
        self._held.append(shared)
        self._send(b"\n", [shared.fileno()])

    def close(self) -> None:
        """Close the lifeline, in a forked child of this program."""
        for one in (self._socket, *self._held):
            one.close()

    def _send(self, line: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [line], descriptors)
        except OSError:  # the guardian was killed
            self._socket.close()
            self._socket = self._start()

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", guardian.__file__, str(theirs.fileno()), str(os.getpid())]
            command += [self._mark, *([self._end_with] if self._end_with else [])]
            answer = subprocess.run(
                command,
                pass_fds=[theirs.fileno()],
                cwd="/",
                # Not marked itself, because it outlives what is marked.
                env={name: value for name, value in os.environ.items() if name != MARK_VARIABLE},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                start_new_session=True,
            )
        if answer.returncode:
            ours.close()
            raise ServerUnavailableError(
                f"the guardian of the servers ended with status {answer.returncode} at its start:\n{answer.stderr}"
            )
        for key, (kind, what) in self._entrusted.items():
            socket.send_fds(ours, [_line(key, kind, what)], [])
        for shared in self._held:
            socket.send_fds(ours, [b"\n"], [shared.fileno()])
        return ours


class _GuardianHolder:
    """Holds this program's guardian, once it has one. A forked child counts as another program."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._guardian: _Guardian | None = None

    def guardian(self) -> _Guardian:
        with self.lock:
            if self._guardian is None:
                self._guardian = _Guardian()
            return self._guardian

    def forget(self) -> None:
        """Close the parent's guardian: the child would keep the lifeline open, and has its own servers."""
        self.lock = threading.RLock()
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None


_holder = _GuardianHolder()
os.register_at_fork(after_in_child=_holder.forget)


def begin() -> None:
    """Start this program's guardian, unless it has one. Raises ServerUnavailableError when it does not start."""
    _holder.guardian()


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the mark that tells the guardian which processes are this program's."""
    begin()
    return {**environment, MARK_VARIABLE: os.environ[MARK_VARIABLE]}


def entrust_process(pid: int, end_signal: signal.Signals = signal.SIGKILL) -> str:
    """Entrust a child that leads a session: it ends with this program, with its children and its session.

    ``end_signal`` ends it at once but lets it clean up; SIGKILL follows. Returns a key for `take_back`.
    """
    return _entrust("process", {"pid": pid, "end_signal": int(end_signal)})


def entrust_command(words: Sequence[str]) -> str:
    """Entrust a command, to run after this program and its processes are gone. Returns a key for `take_back`."""
    return _entrust("command", list(words))


def entrust_folder(folder: Path) -> str:
    """Entrust a folder, to be removed after this program ends. Returns a key for `take_back`."""
    return _entrust("folder", str(folder.absolute()))


def take_back(key: str) -> None:
    """Take back something entrusted that has ended or was removed."""
    with _holder.lock:
        _holder.guardian().entrust(key, None, None)


def hold(shared: socket.socket) -> None:
    """Keep a socket open until this program is gone and its guardian has cleaned up."""
    with _holder.lock:
        _holder.guardian().hold(shared)


def _entrust(kind: str, what: object) -> str:
    with _holder.lock:
        key = str(next(_keys))
        _holder.guardian().entrust(key, kind, what)
        return key


def _line(key: str, kind: str | None, what: object) -> bytes:
    return json.dumps([key, kind, what]).encode() + b"\n"
