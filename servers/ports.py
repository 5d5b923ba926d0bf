"""Free ports of the loopback address, for servers that must come back on the same port after a kill."""

import random
import socket

HOST = "127.0.0.1"

# Below the range from which systems take the ports of outgoing connections (32768 and up on Linux). A client that tries
# again and again to reach a stopped server could else be given the server's own port for its end of the connection,
# and so keep the server from coming back.
CANDIDATES = range(20_000, 32_000)


def free_ports(count: int) -> list[int]:
    """Return that many different ports on which nothing listens now."""
    found: list[int] = []
    for port in random.SystemRandom().sample(CANDIDATES, k=len(CANDIDATES)):
        if len(found) == count:
            return found
        if _is_free(port):
            found.append(port)
    raise OSError(
        f"expected {count} free ports from {CANDIDATES.start} to {CANDIDATES.stop}, found {len(found)}"
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
