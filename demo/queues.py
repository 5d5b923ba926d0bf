"""The queues of the demo's own job system: one SQLite file that all its workers share.

As in any queue, a job has an id, arguments, and headers that travel with it. This module does not know jobtrail.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

_LOCK_TIMEOUT_SECONDS = 60.0

_TABLE = """
CREATE TABLE IF NOT EXISTS tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    queue TEXT NOT NULL,
    worker TEXT NOT NULL,
    args TEXT NOT NULL,
    headers TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'ended'))
);
CREATE INDEX IF NOT EXISTS tasks_by_state ON tasks (queue, state, id);
"""


class Task(NamedTuple):
    """A job in a queue."""

    job_id: int
    queue: str
    worker: str
    args: Mapping[str, Any]
    headers: Mapping[str, str]


class Load(NamedTuple):
    """The numbers of jobs in one queue."""

    waiting: int
    running: int


class Queues:
    """The queue file, opened by one process. Jobs are taken in the order of their ids."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, timeout=_LOCK_TIMEOUT_SECONDS, isolation_level=None)
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = OFF")

    @classmethod
    def create(cls, path: Path, first_job_id: int) -> Self:
        """Create the file; the first job put in gets this id."""
        queues = cls(path)
        queues._connection.executescript(_TABLE)
        queues._connection.execute(
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('tasks', ?)", (first_job_id - 1,)
        )
        return queues

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def reserve(self, count: int) -> range:
        """Reserve job ids for jobs that will be put in."""
        with (
            self._transaction(),
            closing(
                self._connection.execute(
                    "UPDATE sqlite_sequence SET seq = seq + ? WHERE name = 'tasks' RETURNING seq", (count,)
                )
            ) as cursor,
        ):
            (last,) = cursor.fetchone()
        return range(last - count + 1, last + 1)

    def put(self, tasks: list[Task]) -> None:
        """Put in all jobs, or none."""
        with self._transaction():
            self._connection.executemany(
                "INSERT INTO tasks (id, queue, worker, args, headers) VALUES (?, ?, ?, ?, ?)",
                [
                    (
                        task.job_id,
                        task.queue,
                        task.worker,
                        json.dumps(task.args),
                        json.dumps(dict(task.headers)),
                    )
                    for task in tasks
                ],
            )

    def take(self, queue: str) -> Task | None:
        """Take and return the oldest waiting job; None when there is none."""
        with (
            self._transaction(),
            closing(
                self._connection.execute(
                    "UPDATE tasks SET state = 'running' WHERE id = "
                    "(SELECT id FROM tasks WHERE queue = ? AND state = 'waiting' ORDER BY id LIMIT 1) "
                    "RETURNING id, queue, worker, args, headers",
                    (queue,),
                )
            ) as cursor,
        ):
            row = cursor.fetchone()
        if row is None:
            return None
        job_id, name, worker, args, headers = row
        return Task(job_id, name, worker, json.loads(args), json.loads(headers))

    def end(self, task: Task) -> None:
        """Mark a job as ended, with any outcome."""
        self._connection.execute("UPDATE tasks SET state = 'ended' WHERE id = ?", (task.job_id,))

    def load(self) -> dict[str, Load]:
        """Return the waiting and running jobs, by queue."""
        counts: dict[tuple[str, str], int] = {
            (queue, state): count
            for queue, state, count in self._connection.execute(
                "SELECT queue, state, count(*) FROM tasks GROUP BY queue, state"
            )
        }
        return {
            queue: Load(counts.get((queue, "waiting"), 0), counts.get((queue, "running"), 0))
            for queue in {queue for queue, _ in counts}
        }

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        self._connection.execute("COMMIT")
