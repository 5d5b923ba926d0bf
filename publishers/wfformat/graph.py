"""Check the graph of a trace (parents and children agree, no cycle), and put its tasks in order."""

from collections import deque
from collections.abc import Mapping, Sequence

from publishers.wfformat.fields import quoted
from schemas.errors import InputError

_SHOWN = 20
"""The most tasks of a cycle that a message names."""
_SHOWN_CHARACTERS = 80


def join_links(
    where: str,
    parents: Mapping[str, Sequence[str] | None],
    children: Mapping[str, Sequence[str] | None],
) -> dict[str, tuple[str, ...]]:
    """Return the parents of every task, from what both directions say. All names are tasks of ``parents``.

    None means that the file has no list there. A direction whose lists are all empty is ignored. Raises InputError,
    with ``where`` and both tasks' names, when two lists contradict each other.
    """
    if not any(parents.values()):
        parents = dict.fromkeys(parents)
    if not any(children.values()):
        children = dict.fromkeys(children)
    edges = {(parent, task) for task, names in parents.items() for parent in names or ()}
    listed = {(task, child) for task, names in children.items() for child in names or ()}
    for parent, task in sorted(listed - edges):
        if parents[task] is not None:
            one, other = quoted(parent), quoted(task)
            raise InputError(
                f"{where}: task {one} lists {other} as its child, but {other} does not list {one} as its parent."
            )
    for parent, task in sorted(edges - listed):
        if children[parent] is not None:
            one, other = quoted(task), quoted(parent)
            raise InputError(
                f"{where}: task {one} lists {other} as its parent, but {other} does not list {one} as its child."
            )
    joined = {task: dict.fromkeys(names or ()) for task, names in parents.items()}
    for parent, names in children.items():
        for child in names or ():
            joined[child][parent] = None
    return {task: tuple(names) for task, names in joined.items()}


def order(where: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return all tasks, each after its parents, and otherwise in the file's order.

    Raises InputError, with its path, when there is a cycle.
    """
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
        listed = path if len(path) <= _SHOWN else [*path[: _SHOWN - 1], "…", path[-1]]
        cycle = " → ".join(name[:_SHOWN_CHARACTERS] for name in listed)
        raise InputError(
            f"{where}: the tasks depend on each other in a cycle of {len(path) - 1}: {cycle}. "
            "Remove one of these dependencies."
        )
    return ordered


def _cycle(parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a cycle as parent → child → … → parent. Every task has a parent here, so walking up finds one."""
    seen: dict[str, int] = {}
    task = next(iter(parents))
    path: list[str] = []
    while task not in seen:
        seen[task] = len(path)
        path.append(task)
        task = next(parent for parent in parents[task] if parent in parents)
    return [task, *reversed(path[seen[task] :])]
