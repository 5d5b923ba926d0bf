"""When each task would have run: pure arithmetic on a trace, in microseconds since the workflow's start.

The files record how long a task ran, but not reliably when: before 1.5 not at all, and since then converters write the
time of the conversion there. So each task starts as soon as its last parent has ended, with no limit on how many run
side by side: the makespan is the length of the critical path.
"""

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

from publishers.wfformat.read import Task


class Change(IntEnum):
    """What happens to a task, in the order in which it happens."""

    AVAILABLE = 0
    EXECUTING = 1
    COMPLETED = 2


class Timing(NamedTuple):
    """When a task starts and ends. It becomes available when it starts: nothing but its parents held it up."""

    start_us: int
    end_us: int


class Step(NamedTuple):
    """One change of one task; ``position`` is the task's place in the trace. Steps sort in the order they happen."""

    at_us: int
    position: int
    change: Change


def timings(tasks: Sequence[Task]) -> list[Timing]:
    """The timing of each task. ``tasks`` come after their parents, as a Trace holds them."""
    end_of: dict[str, int] = {}
    planned = []
    for task in tasks:
        start = max((end_of[parent] for parent in task.parents), default=0)
        end_of[task.id] = start + task.runtime_us
        planned.append(Timing(start, end_of[task.id]))
    return planned


def makespan_us(planned: Sequence[Timing]) -> int:
    """From the workflow's start to the end of its last task."""
    return max((timing.end_us for timing in planned), default=0)


def steps(planned: Sequence[Timing]) -> list[Step]:
    """Every change of every task in time order; at the same moment a parent's end comes before its child's start."""
    return sorted(
        step
        for position, timing in enumerate(planned)
        for step in (
            Step(timing.start_us, position, Change.AVAILABLE),
            Step(timing.start_us, position, Change.EXECUTING),
            Step(timing.end_us, position, Change.COMPLETED),
        )
    )
