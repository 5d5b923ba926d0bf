"""The memory, threads, file descriptors and connections of a process, which must not grow during an outage."""

from typing import NamedTuple

import psutil

MEGABYTE = 2**20


class Held(NamedTuple):
    """What a process holds at one moment."""

    megabytes: float
    """Resident."""
    threads: int
    files: int
    connections: int

    def __str__(self) -> str:
        return f"{self.megabytes:.0f} MB, {self.threads} threads, {self.files} files, {self.connections} connections"


def held(pid: int) -> Held:
    """Return what this process holds now."""
    process = psutil.Process(pid)
    return Held(
        process.memory_info().rss / MEGABYTE,
        process.num_threads(),
        process.num_fds(),
        len([one for one in process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]),
    )
