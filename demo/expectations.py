"""Computes the answers expected of `jobtrail` from the workers' own files. Pure: tallied jobs in, expected answers
out.

Nothing here, or in the files it reads, comes from jobtrail, its SDK or its tables.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from demo.tally import TalliedJob

Jobs = Mapping[str, TalliedJob]
_FAILED = frozenset({"discarded"})
_WAITING = frozenset({"available"})


@dataclass(frozen=True)
class Group:
    """A group of failures, with the external ids that its samples must be taken from."""

    category: str
    error_type: str
    jobs: int
    external_ids: frozenset[str]


def depth(jobs: Jobs, job: TalliedJob) -> int:
    """Return the number of steps from the root."""
    return 0 if not job.parent else 1 + depth(jobs, jobs[job.parent])


def stages(jobs: Jobs) -> dict[tuple[int, str], dict[str, int]]:
    """Return the number of jobs by depth and worker, then by state."""
    counts: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for job in jobs.values():
        counts[depth(jobs, job), job.worker][job.state] += 1
    return {stage: dict(states) for stage, states in counts.items()}


def announced(jobs: Jobs) -> dict[tuple[int, str], int]:
    """Return how many jobs of each stage their parents announced."""
    sums: Counter[tuple[int, str]] = Counter()
    for job in jobs.values():
        for worker, count in job.expected.items():
            sums[depth(jobs, job) + 1, worker] += count
    return dict(sums)


def stuck(jobs: Jobs) -> set[tuple[int, str]]:
    """Return the stages in which jobs wait and none executes, for a fleet at rest."""
    return {
        stage
        for stage, states in stages(jobs).items()
        if _WAITING & states.keys() and "executing" not in states
    }


def rows(jobs: Jobs) -> dict[str, tuple[str, str, str, str, str]]:
    """Return for each job its worker, state, parent, external id, and failure category."""
    return {
        job.job_id: (job.worker, job.state, job.parent, job.external_id, job.category)
        for job in jobs.values()
    }


def children(jobs: Jobs) -> dict[str, Counter[str]]:
    """Return for each job with children how many it spawned of each worker."""
    spawned: dict[str, Counter[str]] = defaultdict(Counter)
    for job in jobs.values():
        if job.parent:
            spawned[job.parent][job.worker] += 1
    return spawned


def missing(jobs: Jobs) -> dict[tuple[str, str], tuple[int, int]]:
    """Return announced and spawned counts, by job and worker, where the two differ."""
    spawned = children(jobs)
    return {
        (job.job_id, worker): (count, spawned[job.job_id][worker])
        for job in jobs.values()
        for worker, count in job.expected.items()
        if spawned[job.job_id][worker] != count
    }


def childless(jobs: Jobs) -> dict[tuple[str, str], frozenset[str]]:
    """Return the childless jobs, by worker and child worker: completed, but without a child that their peers have."""
    spawned = children(jobs)
    completed = [job for job in jobs.values() if job.state == "completed"]
    kinds = {(job.worker, worker) for job in completed for worker in spawned[job.job_id]}
    found = {
        (worker, child): frozenset(
            job.job_id
            for job in completed
            if job.worker == worker and not spawned[job.job_id][child] and child not in job.expected
        )
        for worker, child in kinds
    }
    return {kind: lacking for kind, lacking in found.items() if lacking}


def groups(jobs: Jobs) -> list[Group]:
    """Return failure groups by category and type: messages that differ only in a film's id and title are one group."""
    failed: dict[tuple[str, str], list[TalliedJob]] = defaultdict(list)
    for job in jobs.values():
        if job.state in _FAILED:
            failed[job.category, job.error_type].append(job)
    return [
        Group(category, error_type, len(members), frozenset(job.external_id for job in members))
        for (category, error_type), members in sorted(failed.items())
    ]


def run(jobs: Jobs) -> dict[str, int]:
    """Return the numbers of the run that `jobtrail runs list` shows."""
    states = Counter(job.state for job in jobs.values())
    return {
        "total": len(jobs),
        "completed": states["completed"],
        "discarded": sum(states[state] for state in _FAILED),
        "waiting": sum(states[state] for state in _WAITING),
        "executing": states["executing"],
    }


def tasks_by_program(document: Mapping[str, Any]) -> dict[str, int]:
    """Count the tasks of a recorded workflow (WfFormat 1.5) by the program that they ran."""
    executed: Iterable[Mapping[str, Any]] = document["workflow"]["execution"]["tasks"]
    return dict(Counter(task["command"]["program"] for task in executed))


def longest_history(document: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    """Return the task of a recorded workflow that waited for the most others, and those others."""
    parents = {task["id"]: task["parents"] for task in document["workflow"]["specification"]["tasks"]}
    history: dict[str, frozenset[str]] = {}

    def before(task: str) -> frozenset[str]:
        if task not in history:
            history[task] = frozenset(parents[task]).union(*(before(parent) for parent in parents[task]))
        return history[task]

    last = max(sorted(parents), key=lambda task: len(before(task)))
    return last, before(last)
