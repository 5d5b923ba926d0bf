"""Compute when each task would have run, in microseconds since the workflow's start. Pure.

The files say how long each task ran, but not reliably when: before 1.5 they do not say it, and since then some
converters write the time of the conversion there. So each task starts as soon as its last parent has ended, and any
number of tasks run side by side. The makespan is the length of the critical path.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from publishers.wfformat.read import Task


class Change(IntEnum):
    """A change of a task's state. The values are in the order in which the changes happen."""

    AVAILABLE = 0
    EXECUTING = 1
    COMPLETED = 2


class Timing(NamedTuple):
    """When a task starts and ends. It becomes available when it starts: it waits for its parents only."""

    start_us: int
    end_us: int


class Step(NamedTuple):
    """One change of one task. ``position`` is the task's index in the trace. Steps sort in the order they happen."""

    at_us: int
    position: int
    change: Change


def timings(tasks: Sequence[Task]) -> list[Timing]:
    """Return the timing of each task. Each of ``tasks`` comes after its parents, as in a Trace."""
    end_of: dict[str, int] = {}
    planned = []
    for task in tasks:
        start = max((end_of[parent] for parent in task.parents), default=0)
        end_of[task.id] = start + task.runtime_us
        planned.append(Timing(start, end_of[task.id]))
    return planned


def makespan_us(planned: Sequence[Timing]) -> int:
    """Return the time from the workflow's start to the end of its last task, in microseconds."""
    return max((timing.end_us for timing in planned), default=0)


def steps(planned: Sequence[Timing]) -> list[Step]:
    """Return every change of every task, in time order. A parent's end comes before its child's start."""
    return sorted(
        step
        for position, timing in enumerate(planned)
        for step in (
            Step(timing.start_us, position, Change.AVAILABLE),
            Step(timing.start_us, position, Change.EXECUTING),
            Step(timing.end_us, position, Change.COMPLETED),
        )
    )
