"""The workers' own notes of what they did: files of JSON lines, one file for each process, written without the SDK.

They say, for each job, its parent and its state. The checker believes only these notes.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# A later state wins. The order of lines is not known between processes, but the order of states is.
_RANKS = {"available": 0, "executing": 1, "completed": 2, "discarded": 2}


@dataclass
class TalliedJob:
    """One job as the workers saw it. ``parent`` and ``category`` are empty when the job has none."""

    job_id: str
    worker: str = ""
    parent: str = ""
    external_id: str = ""
    state: str = ""
    category: str = ""
    error_type: str = ""
    expected: dict[str, int] = field(default_factory=dict)
    at: float = 0.0


class Tally:
    """The file of one process; each line is flushed at once."""

    def __init__(self, directory: Path, process: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._file = (directory / f"{process}.jsonl").open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def record(self, job_id: int, worker: str, **what: object) -> None:
        """Write down that a job is now in a state, or that it expects children."""
        self._file.write(
            json.dumps({"job_id": str(job_id), "worker": worker, "at": time.time(), **what}) + "\n"
        )


def read(directory: Path) -> dict[str, TalliedJob]:
    """Return the jobs in the files of all processes, by job id. A line that is still being written is ignored."""
    jobs: dict[str, TalliedJob] = {}
    for path in sorted(directory.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                _apply(jobs, json.loads(line))
    return jobs


def _apply(jobs: dict[str, TalliedJob], line: Mapping[str, Any]) -> None:
    job = jobs.setdefault(line["job_id"], TalliedJob(line["job_id"]))
    job.worker = line["worker"]
    job.expected.update(line.get("expected", {}))
    for name in ("parent", "external_id", "category", "error_type"):
        if line.get(name):
            setattr(job, name, line[name])
    state = line.get("state", "")
    if state and _RANKS[state] >= _RANKS.get(job.state, -1):
        job.state, job.at = state, max(job.at, line["at"])
