"""The memory, threads, file descriptors and connections of a process, which must not grow during an outage."""

from typing import NamedTuple

import psutil

MEGABYTE = 2**20


class Resources(NamedTuple):
    """The resources of a process at one moment."""

    megabytes: float
    """Resident memory."""
    threads: int
    files: int
    connections: int

    def __str__(self) -> str:
        return f"{self.megabytes:.0f} MB, {self.threads} threads, {self.files} files, {self.connections} connections"


def resources_of(pid: int) -> Resources:
    """Return the present resources of this process."""
    process = psutil.Process(pid)
    return Resources(
        process.memory_info().rss / MEGABYTE,
        process.num_threads(),
        process.num_fds(),
        len([one for one in process.net_connections("tcp") if one.status == psutil.CONN_ESTABLISHED]),
    )
