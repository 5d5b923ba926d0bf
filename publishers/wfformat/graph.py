"""The graph of a trace: parents that exist, children that agree with them, no cycle; and an order to walk it in."""

from collections import deque
from collections.abc import Mapping, Sequence

from schemas.errors import InputError

_SHOWN = 20
"""Tasks of a cycle that a message names at most."""


def check_links(
    where: str, parents: Mapping[str, Sequence[str]], children: Mapping[str, Sequence[str]]
) -> None:
    """Both directions name known tasks and the same edges. Raises InputError with ``where`` and the tasks' names.

    ``children`` may lack tasks: what the file does not say is not compared.
    """
    for task, names in parents.items():
        for parent in names:
            if parent not in parents:
                raise InputError(
                    f"{where}: task {task!r} has the parent {parent!r}, which the file does not hold."
                )
    for task, names in children.items():
        for child in names:
            if child not in parents:
                raise InputError(
                    f"{where}: task {task!r} has the child {child!r}, which the file does not hold."
                )
    edges = {(parent, task) for task, names in parents.items() for parent in names}
    listed = {(task, child) for task, names in children.items() for child in names}
    for parent, task in sorted(listed - edges):
        raise InputError(
            f"{where}: task {parent!r} lists {task!r} as its child, but {task!r} does not list {parent!r} as its parent."
        )
    for parent, task in sorted(edges - listed):
        if parent in children:
            raise InputError(
                f"{where}: task {task!r} lists {parent!r} as its parent, but {parent!r} does not list {task!r} "
                "as its child."
            )


def order(where: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """All tasks, each after its parents, otherwise as the file has them. Raises InputError with a cycle's path."""
    waiting_for = {task: len(names) for task, names in parents.items()}
    children: dict[str, list[str]] = {task: [] for task in parents}
    for task, names in parents.items():
        for parent in names:
            children[parent].append(task)
    ready = deque(task for task, count in waiting_for.items() if not count)
    ordered = []
    while ready:
        task = ready.popleft()
        ordered.append(task)
        for child in children[task]:
            waiting_for[child] -= 1
            if not waiting_for[child]:
                ready.append(child)
    if len(ordered) < len(parents):
        path = _cycle({task: names for task, names in parents.items() if waiting_for[task]})
        shown = path if len(path) <= _SHOWN else [*path[: _SHOWN - 1], "…", path[-1]]
        raise InputError(
            f"{where}: the tasks depend on each other in a cycle of {len(path) - 1}: {' → '.join(shown)}. "
            "A workflow is a graph without cycles."
        )
    return ordered


def _cycle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """A cycle as parent → child → … → parent. Every task given has a parent among those given, so walking up meets one."""
    seen: dict[str, int] = {}
    task = next(iter(parents))
    path: list[str] = []
    while task not in seen:
        seen[task] = len(path)
        path.append(task)
        task = next(parent for parent in parents[task] if parent in parents)
    return [task, *reversed(path[seen[task] :])]
