"""A network path that can be disturbed: a TCP proxy between a service and its server, in the test's process.

    with Path(port_of_the_server) as path:
        ... start the service with path.port instead of the server's port ...
        path.stall()                     # both sides stay connected, nothing passes, new connections get no answer
        path.let_pass()                  # all held data arrives now, in order
        path.cut()                       # every connection is reset; new ones pass
        path.refuse()                    # every connection is reset, and the port is closed: new ones are refused
        path.cut_after(1000, TO_SERVER)  # after 1,000 more bytes, the connection that carried the last one ends, in mid-frame
        path.stall(TO_SERVICE)           # only one direction: the server receives, the service does not

Use `pulsar_path` for Pulsar: a broker answers every look-up with its own address, which the client then uses, past the
path. So the path replaces that address by its own in the stream.

The kernel still answers TCP's own packets on a stalled path (keepalives, and data up to some hundred kilobytes), as with
a hung proxy or a frozen server. To lose packets, a firewall would be needed.
"""

import contextlib
import socket
import struct
import threading
from types import TracebackType
from typing import Literal, Self
from urllib.parse import urlsplit

from servers.ports import HOST, free_ports

Direction = Literal["to the server", "to the service"]
TO_SERVER: Direction = "to the server"
TO_SERVICE: Direction = "to the service"
BOTH: tuple[Direction, ...] = (TO_SERVER, TO_SERVICE)

_CHUNK_BYTES = 64 * 1024


class Path:
    """The path to one server, with any number of connections. Two threads carry each."""

    def __init__(self, server_port: int, host: str = HOST) -> None:
        """Choose the path's own port; it is open within the `with` block."""
        self._server = (host, server_port)
        self._replace: tuple[bytes, bytes] | None = None
        (self.port,) = free_ports(1)
        self._changed = threading.Condition()
        self._stalled: set[Direction] = set()
        self._bytes_left: dict[Direction, int] = {}
        self._connections: set[_Connection] = set()
        self._listener: socket.socket | None = None
        self.carried: dict[Direction, int] = {TO_SERVER: 0, TO_SERVICE: 0}
        """Bytes that have passed, over all connections."""
        self.accepted = 0
        """Connections accepted so far."""

    def let_pass(self) -> None:
        """End every disturbance: held data passes, and connections are accepted."""
        with self._changed:
            self._stalled.clear()
            self._bytes_left.clear()
            self._changed.notify_all()
        self._listen()

    def stall(self, *directions: Direction) -> None:
        """Hold all data in these directions (both, if none is named), silently and without loss."""
        with self._changed:
            self._stalled.update(directions or BOTH)
            self._changed.notify_all()

    def cut(self) -> None:
        """Reset every connection; new ones pass."""
        with self._changed:
            doomed = list(self._connections)
        for connection in doomed:
            connection.reset()

    def cut_after(self, count: int, direction: Direction) -> None:
        """Once, after ``count`` more bytes in this direction, end the connection that carried the last one; that byte still arrives."""
        with self._changed:
            self._bytes_left[direction] = count

    def refuse(self) -> None:
        """Close the port and reset every connection: new connections are refused at once, until `let_pass`."""
        self._close_port()
        self.cut()

    def replace(self, old: bytes, by: bytes) -> None:
        """Replace each occurrence in the server's stream by other bytes of the same length."""
        assert len(old) == len(by), (
            f"expected the same length, because frames contain their length, got {old!r} and {by!r}"
        )
        self._replace = (old, by)

    def open_connections(self) -> int:
        """Return how many connections are open now."""
        with self._changed:
            return len(self._connections)

    def cut_is_due(self, direction: Direction) -> bool:
        """Return whether a cut in this direction is still to come."""
        with self._changed:
            return direction in self._bytes_left

    def __enter__(self) -> Self:
        self._listen()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.refuse()
        self.let_go()

    def let_go(self) -> None:
        """Wake every thread that holds data; their connections are reset, so they end."""
        with self._changed:
            self._stalled.clear()
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------- used by connections

    def may_pass(self, direction: Direction, connection: "_Connection") -> bool:
        """Wait while the direction is stalled; return False if the connection was reset meanwhile."""
        with self._changed:
            while direction in self._stalled and not connection.ended:
                self._changed.wait()
        return not connection.ended

    def passing(self, direction: Direction, count: int) -> tuple[int, bool]:
        """Return how many of ``count`` bytes may pass, and whether the cut comes after them."""
        with self._changed:
            left = self._bytes_left.pop(direction, None)
            cut = left is not None and left <= count
            if left is not None and not cut:
                self._bytes_left[direction] = left - count
            passing = left if left is not None and cut else count
            self.carried[direction] += passing
            return passing, cut

    def ended(self, connection: "_Connection") -> None:
        """Forget a connection that has ended."""
        with self._changed:
            self._connections.discard(connection)
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------------- the listener

    def _listen(self) -> None:
        if self._listener is not None:
            return
        listener = socket.create_server((HOST, self.port), backlog=128)
        self._listener = listener
        threading.Thread(target=self._accept, args=[listener], name="path", daemon=True).start()

    def _close_port(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                service, _ = listener.accept()
            except OSError:
                return  # the port was closed
            connection = _Connection(self, service, self._server, self._replace)
            with self._changed:
                self.accepted += 1
                self._connections.add(connection)
            connection.start()


class _Connection:
    """One connection of the service, and its continuation to the server."""

    def __init__(
        self,
        path: Path,
        service: socket.socket,
        server: tuple[str, int],
        replace: tuple[bytes, bytes] | None,
    ) -> None:
        self._path = path
        self._service = service
        self._server_address = server
        self._replace = replace
        self._server: socket.socket | None = None
        self._ends = threading.Lock()
        self.ended = False

    def start(self) -> None:
        threading.Thread(target=self._open, name="path to server", daemon=True).start()

    def reset(self) -> None:
        """Reset it on both sides, as a firewall or a dying host does; data on its way is lost."""
        for end in (self._service, self._server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """Close it on both sides; data that was sent before arrives."""
        with self._ends:
            if self.ended:
                return
            self.ended = True
        for end in (self._service, self._server):
            if end is not None:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads
                end.close()
        self._path.ended(self)

    def _open(self) -> None:
        if not self._path.may_pass(TO_SERVER, self):
            return
        try:
            self._server = socket.create_connection(self._server_address, timeout=10)
        except OSError:
            self.reset()
            return
        self._server.settimeout(None)
        for end in (self._service, self._server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(
            target=self._carry,
            args=[self._server, self._service, TO_SERVICE],
            name="path to service",
            daemon=True,
        ).start()
        self._carry(self._service, self._server, TO_SERVER)

    def _carry(self, source: socket.socket, target: socket.socket, direction: Direction) -> None:
        try:
            while True:
                data = source.recv(_CHUNK_BYTES)
                if not self._path.may_pass(direction, self):
                    return
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    break
                if self._replace and direction == TO_SERVICE:
                    data = data.replace(*self._replace)
                count, cut = self._path.passing(direction, len(data))
                target.sendall(data[:count])
                if cut:
                    self.close()
                    return
        except OSError:
            self.reset()
            return
        if direction == TO_SERVICE:
            self.close()  # the server sends nothing more: in both protocols here, that ends the connection


def pulsar_path(url: str) -> Path:
    """Return a path to the broker at this URL (pulsar://127.0.0.1:port); its clients stay on it after a look-up."""
    parts = urlsplit(url)
    assert parts.hostname is not None, url
    assert parts.port is not None, url
    path = Path(parts.port, parts.hostname)
    path.replace(f"{parts.hostname}:{parts.port}".encode(), f"{HOST}:{path.port}".encode())
    return path
