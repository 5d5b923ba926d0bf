"""Identifies tasks: the id of each task, and the task that a reference names by id or by name."""

from collections.abc import Sequence

from publishers.wfformat.fields import known, quoted, text_of
from publishers.wfformat.versions import Entry
from schemas.errors import InputError


class References:
    """Finds the task that a text names: the task with that id, otherwise the one with that name."""

    def __init__(self, entries: Sequence[Entry], ids: Sequence[str], where: str) -> None:
        self._ids = frozenset(ids)
        self._named: dict[str, list[str]] = {}
        for (place, entry), task in zip(entries, ids, strict=True):
            for text in {text_of(entry, key, f"{where}: {place}") for key in ("id", "name")}:
                self._named.setdefault(text, []).append(task)

    def find(self, text: str) -> Sequence[str]:
        """Return the ids of the tasks that a text names: none, one, or several that share a name."""
        return (text,) if text in self._ids else self._named.get(text, ())

    def resolve(self, names: Sequence[str] | None, where: str, kind: str) -> list[str] | None:
        """Return the ids of the tasks that a list names; None when there is no list. ``kind`` is for messages.

        Raises InputError for a name that no task has, or that several have. A stand-in for "none" is left out.
        """
        if names is None:
            return None
        found: list[str] = []
        for name in names:
            tasks = self.find(name)
            if len(tasks) > 1:
                raise InputError(
                    f"{where} has the {kind} {quoted(name)}, which is the name of {len(tasks)} tasks: "
                    "name it by its id."
                )
            if not tasks and known(name):
                raise InputError(f"{where} has the {kind} {quoted(name)}, which is not in the file.")
            found += tasks
        return found


def identify(entries: Sequence[Entry], where: str, *, names_are_ids: bool) -> list[str]:
    """Return the id of each task, or its name where it has no id.

    ``names_are_ids`` says that names identify tasks (WfFormat up to 1.4), so that ids may repeat. Raises InputError
    when a task has neither an id nor a name, or when two tasks have the same one.
    """
    ids = [text_of(entry, "id", f"{where}: {place}") for place, entry in entries]
    names = [text_of(entry, "name", f"{where}: {place}") for place, entry in entries]
    chosen = [
        next((text for text in (task, name) if known(text)), task or name)
        for task, name in zip(ids, names, strict=True)
    ]
    if names_are_ids and len(set(chosen)) < len(chosen) and len(set(names)) == len(names) and all(names):
        return names
    seen: set[str] = set()
    for (place, _), task, text in zip(entries, ids, chosen, strict=True):
        if not text:
            raise InputError(f"{where}: {place}: the task has neither an id nor a name: give it an id.")
        if text in seen and text != task:
            raise InputError(
                f"{where}: {place}: the task has no id, and another task has its name {quoted(text)}: "
                "give each an id."
            )
        if text in seen:
            raise InputError(f"{where}: {place}: the id {quoted(text)} is used by two tasks.")
        seen.add(text)
    return chosen


def match_executions(
    entries: Sequence[Entry], references: References, ids: Sequence[str], where: str
) -> list[Entry]:
    """Return the execution of each task of ``ids``, in their order.

    Raises InputError when a task has none or two of them, or when one belongs to no task.
    """
    executions: dict[str, Entry] = {}
    for place, entry in entries:
        texts = [text_of(entry, key, f"{where}: {place}") for key in ("id", "name")]
        text = next(filter(known, texts), texts[0] or texts[1])
        tasks = references.find(text)
        if not text:
            raise InputError(f"{where}: {place}: the task has neither an id nor a name: give it an id.")
        if not tasks:
            raise InputError(
                f"{where}: task {quoted(text)} is in workflow.execution.tasks, "
                "but not in workflow.specification.tasks."
            )
        if len(tasks) > 1:
            raise InputError(
                f"{where}: {place}: {quoted(text)} is the name of {len(tasks)} tasks: name it by its id."
            )
        if tasks[0] in executions:
            raise InputError(
                f"{where}: {place}: task {quoted(text)} is already in {executions[tasks[0]][0]}: "
                "keep one execution of each task, the last."
            )
        executions[tasks[0]] = (place, entry)
    for task in ids:
        if task not in executions:
            raise InputError(
                f"{where}: task {quoted(task)} is in workflow.specification.tasks, "
                "but not in workflow.execution.tasks: without its runtime the run cannot be replayed. "
                "Add its execution, or leave the task out."
            )
    return [executions[task] for task in ids]
