"""`store.verify` needs no more memory, in the client or the server, if there is more to compare or if everything differs.

``JOBTRAIL_VERIFY_JOBS`` (default 5000) says how many jobs it is tried on.
"""

import os
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg

from settings.database import DatabaseSettings
from store.connection import connect
from store.verify.run import verify
from testing.filled import fill

JOBS = int(os.environ.get("JOBTRAIL_VERIFY_JOBS", "5000"))
OURS_BYTES = 40 * 2**20
"""The limit for our process's growth, including its fetch buffers and the cache of masked messages."""

SERVERS_BYTES = 160 * 2**20
"""The limit for the private memory of the session's server process: some sorts of 32 MB, the catalogue, and its libraries."""


@contextmanager
def watched(pid: int) -> Iterator[list[int]]:
    """Sample the private memory of a process, in bytes, while the block runs."""
    seen = [_anonymous_bytes(pid)]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.append(_anonymous_bytes(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        done.set()
        watcher.join()


def _anonymous_bytes(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def test_memory_is_bounded_whether_nothing_or_everything_differs(database_url: str) -> None:
    fill(database_url, JOBS)
    settings = DatabaseSettings.load(database_url=database_url)
    with closing(connect(settings, "jobtrail test", autocommit=True)) as connection:
        backend = connection.info.backend_pid
        with watched(os.getpid()) as ours, watched(backend) as servers:
            assert list(verify(connection)) == []
            failures = _spoil(connection)
            found = Counter(difference.table for difference in verify(connection))
    assert found["failure_group_jobs"] == failures["failure_group_jobs"] > JOBS / 20
    assert found["lineage_edges"] == failures["lineage_edges"] > JOBS / 2
    assert max(ours) - ours[0] < OURS_BYTES
    assert max(servers) < SERVERS_BYTES


def _spoil(connection: psycopg.Connection) -> dict[str, int]:
    """Delete the rows that tens of thousands of others are compared with; return how many were deleted."""
    return {
        "failure_group_jobs": connection.execute("DELETE FROM failure_group_jobs").rowcount,
        "lineage_edges": connection.execute("DELETE FROM lineage_edges").rowcount,
    }
