"""Holds processes under test at chosen steps: the other side of `consumers.process.barriers`.

A process that reaches a step with a trap connects here. It is answered at once, unless the trap catches it: then it waits
until the test releases or kills it.
"""

import contextlib
import os
import queue
import signal
import socket
import socketserver
import threading
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from consumers.process.barriers import VARIABLE
from servers.folders import make_folder, remove_folder


@dataclass
class Held:
    """A process that waits at a step. Its other threads go on."""

    pid: int
    step: str
    _connection: socket.socket

    def release(self) -> None:
        """Let it go on."""
        with contextlib.suppress(OSError):
            self._connection.sendall(b"g")
        self._connection.close()

    def kill(self) -> None:
        """Kill it while it waits."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._connection.close()


class Trap:
    """Holds only the process that reaches the step for the n-th time from now."""

    def __init__(self, step: str, nth: int, whom: Callable[[int], bool]) -> None:
        self.step = step
        self._whom = whom
        self._left = nth
        self._caught: queue.SimpleQueue[Held] = queue.SimpleQueue()

    def wait(self, seconds: float) -> Held | None:
        """Return the caught process as soon as there is one; None if none came within the time."""
        with contextlib.suppress(queue.Empty):
            return self._caught.get(timeout=seconds)
        return None

    def _takes(self, held: Held) -> bool:
        if held.step != self.step or self._left == 0 or not self._whom(held.pid):
            return False
        self._left -= 1
        return self._left == 0


class Director:
    """Listens while the `with` block runs; processes started with `environment` report their steps to it."""

    def __init__(self) -> None:
        self._folder = make_folder("jobtrail-barriers-")
        self.environment = {VARIABLE: str(self._folder)}
        self._traps: list[Trap] = []
        self._lock = threading.Lock()
        self._server = _Server(f"{self._folder}/socket", self._arrived)

    def trap(self, step: str, nth: int = 1, whom: Callable[[int], bool] = lambda _pid: True) -> Trap:
        """Set a trap for the processes that ``whom`` accepts. It holds none after it has caught one, or was removed."""
        trap = Trap(step, nth, whom)
        with self._lock:
            self._traps.append(trap)
            (self._folder / step).touch()
        return trap

    def remove(self, trap: Trap) -> None:
        """Remove the trap; release a process that was caught and not fetched."""
        with self._lock:
            if trap in self._traps:
                self._forget(trap)
        held = trap.wait(0)
        if held is not None:
            held.release()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=[0.1], name="director", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            traps = list(self._traps)
        for trap in traps:
            self.remove(trap)
        self._server.shutdown()
        self._server.server_close()
        remove_folder(self._folder)

    def _forget(self, trap: Trap) -> None:
        self._traps.remove(trap)
        if all(other.step != trap.step for other in self._traps):
            (self._folder / trap.step).unlink()

    def _arrived(self, connection: socket.socket) -> None:
        line = b""
        while not line.endswith(b"\n"):
            part = connection.recv(256)
            if not part:  # killed before it could report its step
                connection.close()
                return
            line += part
        pid, _, step = line.decode().strip().partition(" ")
        held = Held(int(pid), step, connection)
        with self._lock:
            trap = next((trap for trap in self._traps if trap._takes(held)), None)
            if trap is not None:
                self._forget(trap)
        if trap is None:
            held.release()
        else:
            trap._caught.put(held)


class _Server(socketserver.ThreadingUnixStreamServer):
    """Uses a thread per connection, so that a process that is stopped before it reports its step delays no other."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, path: str, arrived: Callable[[socket.socket], None]) -> None:
        self._arrived = arrived
        super().__init__(path, socketserver.BaseRequestHandler)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Leave the connection open; whoever answers it closes it."""
        assert isinstance(request, socket.socket)
        with contextlib.suppress(OSError):
            self._arrived(request)
