"""Ports of the loopback address that only this program uses, so that a server can start again on its port.

Ports are chosen from lanes of consecutive numbers. A program owns a lane while it holds the UDP port with the lane's first
number: the kernel gives it to one program at a time, of any user and checkout, and takes it back when the program and its
guardian are gone. Nothing here uses UDP otherwise.
"""

import os
import random
import socket
import threading

from servers import lifeline

HOST = "127.0.0.1"

# Below the range from which systems take the ports of outgoing connections (32768 and up on Linux). Otherwise a client that
# retries a stopped server could get the server's own port for its end of the connection, and so prevent the server from
# starting again.
CANDIDATES = range(20_000, 32_000)
LANE_PORTS = 50


class _Lanes:
    """The ports of this program's lanes that are still unused."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._left: list[int] = []

    def free_port(self) -> int:
        with self._lock:
            while True:
                if not self._left:
                    self._left = _new_lane()
                port = self._left.pop()
                if _is_free(port):
                    return port

    def forget(self) -> None:
        """Forget the parent's lanes, in a forked child: it is another program."""
        self._lock = threading.Lock()
        self._left = []


_lanes = _Lanes()
os.register_at_fork(after_in_child=_lanes.forget)


def free_ports(count: int) -> list[int]:
    """Return ports on which nothing listens. They belong to this program until it ends, and are never returned twice.

    Raises OSError when other programs' lanes leave none.
    """
    return [_lanes.free_port() for _ in range(count)]


def _new_lane() -> list[int]:
    """Acquire a lane that no program owns, and return its ports in any order."""
    firsts = CANDIDATES[::LANE_PORTS]
    for first in random.SystemRandom().sample(firsts, k=len(firsts)):
        owner = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            owner.bind((HOST, first))
        except OSError:
            owner.close()
            continue
        lifeline.hold(owner)
        lane = range(first, min(first + LANE_PORTS, CANDIDATES.stop))
        return random.SystemRandom().sample(lane, k=len(lane))
    raise OSError(
        f"no free port from {CANDIDATES.start} to {CANDIDATES.stop - 1}: running programs own all of them"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
