"""The lifeline: what ties processes, folders and ports to the life of the program that started or chose them.

A program that starts servers has a guardian (`servers/guardian.py`), which ends and removes what is entrusted here when
the program is gone, however it ended. `begin` starts it; everything else here does so when there is none.

A process that inherits this program's environment after `begin` needs nothing more: it has the mark. One that is given
an environment of its own is marked by `marked`.
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
"""Number of the process whose end is to end this program too: the Makefile names its `make`."""

_keys = itertools.count(1)


class _Guardian:
    """This program's end of the socket pair, and what was entrusted: said again to a second guardian."""

    def __init__(self) -> None:
        self._mark = uuid.uuid4().hex
        self._end_with = os.environ.pop(END_WITH_VARIABLE, None)
        self._entrusted: dict[str, tuple[str, object]] = {}
        self._held: list[socket.socket] = []
        os.environ[MARK_VARIABLE] = ":".join(filter(None, [os.environ.get(MARK_VARIABLE), self._mark]))
        self._socket = self._start()

    def entrust(self, key: str, kind: str | None, what: object) -> None:
        """Have the key stand for something of that kind; for nothing if the kind is None."""
        if kind is None:
            self._entrusted.pop(key, None)
        else:
            self._entrusted[key] = (kind, what)
        self._say(_line(key, kind, what), [])

    def hold(self, shared: socket.socket) -> None:
        self._held.append(shared)
        self._say(b"\n", [shared.fileno()])

    def close(self) -> None:
        """Let go, in a child of this program that was forked."""
        for one in (self._socket, *self._held):
            one.close()

    def _say(self, line: bytes, descriptors: list[int]) -> None:
        try:
            socket.send_fds(self._socket, [line], descriptors)
        except OSError:  # somebody has killed it
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
                # Not marked itself: it outlives what is.
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


class _Own:
    """This program's guardian, once it has one. A forked child is another program."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._guardian: _Guardian | None = None

    def guardian(self) -> _Guardian:
        with self.lock:
            if self._guardian is None:
                self._guardian = _Guardian()
            return self._guardian

    def forget(self) -> None:
        """Let go of the parent's: the child would keep the lifeline open, and its servers are its own."""
        self.lock = threading.RLock()
        if self._guardian is not None:
            self._guardian.close()
            self._guardian = None


_own = _Own()
os.register_at_fork(after_in_child=_own.forget)


def begin() -> None:
    """Start this program's guardian, unless it has one. Raises ServerUnavailableError when it does not start."""
    _own.guardian()


def marked(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with the mark by which the guardian knows what this program started."""
    begin()
    return {**environment, MARK_VARIABLE: os.environ[MARK_VARIABLE]}


def entrust_process(pid: int, end_signal: signal.Signals = signal.SIGKILL) -> str:
    """Have a child that leads a session ended with this program, and with it its children and its session.

    ``end_signal`` ends it at once but lets it clean up; SIGKILL follows. Returns a key for `take_back`.
    """
    return _entrust("process", {"pid": pid, "end_signal": int(end_signal)})


def entrust_command(words: Sequence[str]) -> str:
    """Have a command run after this program's end, when its processes are gone. Returns a key for `take_back`."""
    return _entrust("command", list(words))


def entrust_folder(folder: Path) -> str:
    """Have a folder removed after this program's end. Returns a key for `take_back`."""
    return _entrust("folder", str(folder.absolute()))


def take_back(key: str) -> None:
    """Take back what was entrusted: it has ended, or was removed."""
    with _own.lock:
        _own.guardian().entrust(key, None, None)


def hold(shared: socket.socket) -> None:
    """Keep a socket open until this program is gone and its guardian has cleaned up."""
    with _own.lock:
        _own.guardian().hold(shared)


def _entrust(kind: str, what: object) -> str:
    with _own.lock:
        key = str(next(_keys))
        _own.guardian().entrust(key, kind, what)
        return key


def _line(key: str, kind: str | None, what: object) -> bytes:
    return json.dumps([key, kind, what]).encode() + b"\n"
