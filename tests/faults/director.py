"""Where the processes under test stand: the other side of `consumers.process.barriers`.

A process that reaches a step for which a trap is set comes in here, and is answered at once unless the trap is for it: then
it stands there until the test releases or kills it.
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
    """A process that stands at a step. Its other threads go on."""

    pid: int
    step: str
    _connection: socket.socket

    def release(self) -> None:
        """Let it go on."""
        with contextlib.suppress(OSError):
            self._connection.sendall(b"g")
        self._connection.close()

    def kill(self) -> None:
        """SIGKILL while it stands there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self._connection.close()


class Trap:
    """Holds the process that reaches the step for the n-th time from now; only that one."""

    def __init__(self, step: str, nth: int, whom: Callable[[int], bool]) -> None:
        self.step = step
        self._whom = whom
        self._left = nth
        self._caught: queue.SimpleQueue[Held] = queue.SimpleQueue()

    def wait(self, seconds: float) -> Held | None:
        """Who was caught, as soon as somebody is; None when nobody came within the time."""
        with contextlib.suppress(queue.Empty):
            return self._caught.get(timeout=seconds)
        return None

    def _takes(self, held: Held) -> bool:
        if held.step != self.step or self._left == 0 or not self._whom(held.pid):
            return False
        self._left -= 1
        return self._left == 0


class Director:
    """Listens while the `with` block runs; processes started with `environment` tell it their steps."""

    def __init__(self) -> None:
        self._folder = make_folder("jobtrail-barriers-")
        self.environment = {VARIABLE: str(self._folder)}
        self._traps: list[Trap] = []
        self._lock = threading.Lock()
        self._server = _Server(f"{self._folder}/socket", self._arrived)

    def trap(self, step: str, nth: int = 1, whom: Callable[[int], bool] = lambda _pid: True) -> Trap:
        """Set a trap for the processes that ``whom`` says yes to; once it has caught, or was taken away, it holds nobody."""
        trap = Trap(step, nth, whom)
        with self._lock:
            self._traps.append(trap)
            (self._folder / step).touch()
        return trap

    def take_away(self, trap: Trap) -> None:
        """Set nobody's foot in it any more; who was caught and not fetched is released."""
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
            self.take_away(trap)
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
            if not part:  # killed before it could say where it is
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
    """A thread for each arrival: one that is stopped before it said its step keeps nobody else waiting."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, path: str, arrived: Callable[[socket.socket], None]) -> None:
        self._arrived = arrived
        super().__init__(path, socketserver.BaseRequestHandler)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """The connection is closed by who answers it, not here."""
        assert isinstance(request, socket.socket)
        with contextlib.suppress(OSError):
            self._arrived(request)
