"""The guardian: a small process that ends everything a program started once the program is gone, however it ended.

`servers/lifeline.py` starts one for each program that starts servers:

    python -P guardian.py FD PID MARK [PID-TO-END-WITH]

FD is one end of a socket pair; only the program has the other end. The kernel closes that end when the program is
gone: after a clean exit, Ctrl-C, a crash or SIGKILL. The guardian reads the end of file, and then

1. ends every process of the program's family (see `family`), by SIGKILL if necessary,
2. runs the commands that were entrusted to it, such as the removal of a container,
3. removes the folders that were entrusted to it, and exits. Only then can other programs use the program's ports.

It has its own session and is not a child of the program, so whatever ends the program (Ctrl-C, a closed terminal, a kill
of the whole group) does not reach it.

The kernel has no better means. PR_SET_PDEATHSIG is sent when the *thread* that started the server ends, is cleared when a
program changes its user (Postgres does here), does not reach the server's children, and exists only on Linux. Control groups
need rights that a developer may not have.

This file imports no other module of this project, and imports everything at its start: the checkout may be gone when its work
begins.
"""

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import psutil

MARK_VARIABLE = "SERVERS_STARTED_BY"
"""An environment variable: the marks of the programs that started a process, separated by colons."""

_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_WATCH_EVERY_SECONDS = 0.5
_OWNER_ENDS_WITHIN_SECONDS = 20.0
_ORDERLY_END_WITHIN_SECONDS = 3.0
_ALL_END_WITHIN_SECONDS = 60.0
_COMMAND_SECONDS = 60.0
_POLL_SECONDS = 0.02


@dataclass
class Entrusted:
    """What the program has entrusted to its guardian and has not taken back, by key."""

    processes: dict[str, tuple[psutil.Process, int]] = field(default_factory=dict)
    """A process, and the signal on which it ends at once and cleans up (else SIGKILL)."""
    commands: dict[str, list[str]] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)

    def take(self, line: bytes) -> None:
        """Apply one line of the lifeline: a key and its new value (null: none)."""
        key, kind, what = json.loads(line)
        for entries in (self.processes, self.commands, self.folders):
            entries.pop(key, None)
        if kind == "process":
            with contextlib.suppress(psutil.NoSuchProcess):
                self.processes[key] = (psutil.Process(what["pid"]), what["end_signal"])
        elif kind == "command":
            self.commands[key] = what
        elif kind == "folder":
            self.folders[key] = what


class Lifeline:
    """The guardian's end of the socket pair."""

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=descriptor)
        self._buffer = b""
        self._held: list[int] = []  # shared with the program: open as long as either lives

    def read(self, timeout_seconds: float | None) -> list[bytes] | None:
        """Return the whole lines that arrived within that time, or None if the program is gone."""
        ready, _, _ = select.select([self._socket], [], [], timeout_seconds)
        if not ready:
            return []
        data, descriptors, _, _ = socket.recv_fds(self._socket, 65_536, 16)
        if not data:
            return None
        self._held += descriptors
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        return [line for line in lines if line]


class OwnerWatch:
    """Ends the program when another process, the `make` that runs it, is gone."""

    def __init__(self, owner: int, end_with: int) -> None:
        self._owner = psutil.Process(owner)
        self._end_with = _process(end_with)
        self._asked_at: float | None = None

    def look(self) -> None:
        """If the other process has ended, ask the program to end, and kill it if it does not end in time."""
        if self._asked_at is None:
            if self._end_with is None or _has_ended(self._end_with):
                self._asked_at = time.monotonic()
                self._send(signal.SIGTERM)
        elif time.monotonic() > self._asked_at + _OWNER_ENDS_WITHIN_SECONDS:
            self._send(signal.SIGKILL)

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(psutil.Error):
            self._owner.send_signal(number)


def main(descriptor: str, owner: str, mark: str, end_with: str | None = None) -> None:
    """Start a guardian in the background. This process exits with 0 as soon as the guardian runs."""
    lifeline, entrusted = Lifeline(int(descriptor)), Entrusted()
    watch = OwnerWatch(int(owner), int(end_with)) if end_with is not None else None
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    if os.fork():
        os._exit(0)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(nowhere, standard)
    while (lines := lifeline.read(None if watch is None else _WATCH_EVERY_SECONDS)) is not None:
        for line in lines:
            entrusted.take(line)
        if watch is not None:
            watch.look()
    clean_up(mark, entrusted)


def clean_up(mark: str, entrusted: Entrusted) -> None:
    """End the family, run the commands, remove the folders. A failure does not prevent the rest."""
    try:
        _end_family(mark, entrusted)
    finally:
        for command in entrusted.commands.values():
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                subprocess.run(command, capture_output=True, timeout=_COMMAND_SECONDS, check=False)
        for folder in entrusted.folders.values():
            shutil.rmtree(folder, ignore_errors=True)


def family(mark: str | None, roots: Collection[psutil.Process]) -> set[psutil.Process]:
    """Return the living processes that belong together: the roots, and

    - every process with the mark in its environment, which is inherited even through a double fork,
    - every process in the session of a root, even if the root itself has ended,
    - every descendant of these, even one in another session.

    Another user's environment cannot always be read, so servers are both roots and marked.
    """
    found = in_sessions(roots)
    children: dict[int, list[psutil.Process]] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error), process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            children.setdefault(process.ppid(), []).append(process)
            if process in roots or _is_marked(process, mark):
                found.add(process)
    together: set[psutil.Process] = set()
    left = [*found]
    while left:
        process = left.pop()
        if process not in together:
            together.add(process)
            left += children.get(process.pid, [])
    return together


def in_sessions(leaders: Iterable[psutil.Process]) -> set[psutil.Process]:
    """Return the living processes of these sessions, even if their leader has ended."""
    # The id of an ended leader is not used again while its session has members.
    sessions = {leader.pid for leader in leaders if leader.is_running() or not psutil.pid_exists(leader.pid)}
    found = set()
    for pid in psutil.pids():
        with contextlib.suppress(psutil.Error, OSError):
            if os.getsid(pid) in sessions:
                process = psutil.Process(pid)
                if process.status() != psutil.STATUS_ZOMBIE:
                    found.add(process)
    return found


def _is_marked(process: psutil.Process, mark: str | None) -> bool:
    if mark is None:
        return False
    try:
        return mark in process.environ().get(MARK_VARIABLE, "").split(":")
    except (psutil.Error, OSError):
        return False


def _end_family(mark: str, entrusted: Entrusted) -> None:
    roots = [process for process, _ in entrusted.processes.values()]
    orderly = [entry for entry in entrusted.processes.values() if entry[1] != signal.SIGKILL]
    for process, end_signal in orderly:
        with contextlib.suppress(psutil.Error):
            process.send_signal(end_signal)
    began = time.monotonic()
    while (members := family(mark, roots)) and time.monotonic() < began + _ALL_END_WITHIN_SECONDS:
        if orderly and time.monotonic() < began + _ORDERLY_END_WITHIN_SECONDS:
            members -= family(None, [process for process, _ in orderly])
        for member in members:
            with contextlib.suppress(psutil.Error):
                member.kill()
        time.sleep(_POLL_SECONDS)


def _process(pid: int) -> psutil.Process | None:
    try:
        return psutil.Process(pid)
    except psutil.NoSuchProcess:
        return None


def _has_ended(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


if __name__ == "__main__":
    main(*sys.argv[1:])
