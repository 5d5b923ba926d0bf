"""What a process holds: memory, threads, file descriptors, connections. Compared before and after, it must not have grown."""

from typing import NamedTuple

import psutil

MEGABYTE = 2**20


class Held(NamedTuple):
    """At one moment."""

    megabytes: float
    """Resident."""
    threads: int
    files: int
    connections: int

    def __str__(self) -> str:
        return f"{self.megabytes:.0f} MB, {self.threads} threads, {self.files} files, {self.connections} connections"


def held(pid: int) -> Held:
    """By this process now."""
    process = psutil.Process(pid)
    return Held(
        process.memory_info().rss / MEGABYTE,
        process.num_threads(),
        process.num_fds(),
        len([one for one in process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]),
    )
