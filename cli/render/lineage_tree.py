"""Draws a run: its stages as a tree, one line each, however many jobs there are."""

from collections.abc import Iterator
from typing import NamedTuple

from cli.render.safe_text import columns, pad, safe, safe_name
from cli.render.words import cut, lost, one_state, plural, reused_ids, states, stuck
from store.answers.lineage import JobTree
from store.answers.tree import FailureMark, Node

NAME_WIDTH = 48
MARKS_SHOWN = 3


class _Line(NamedTuple):
    name: str
    jobs: str
    states: str
    marks: str


def picture(tree: JobTree, most_lines: int = 100) -> str:
    """Return the tree as text, with at most ``most_lines`` lines; further lines are only counted."""
    lines = list(_lines(tree))
    drawn = lines[:most_lines]
    # The line of a single job has its id where the others have a count, so it must not widen that column.
    counted = [line for line in drawn if line.jobs]
    name_width = max((columns(line.name) for line in counted), default=0)
    count_width = max((len(line.jobs) for line in counted), default=0)
    state_width = max((columns(line.states) for line in counted if line.marks), default=0)
    text = []
    for line in drawn:
        if line.jobs:
            said = f"{pad(line.name, name_width)}   {line.jobs:>{count_width}}   "
            said += pad(line.states, state_width) if line.marks else line.states
        else:
            said = f"{line.name}  {line.states}"
        text.append(f"{said}     {line.marks}".rstrip() if line.marks else said.rstrip())
    if len(lines) > most_lines:
        text.append(
            f"… {plural(len(lines) - most_lines, 'more line')}: see them with --lines, or `jobtrail lineage stats`"
        )
    return "\n".join(text + cut(tree.cut_at))


def _lines(tree: JobTree) -> Iterator[_Line]:
    if not tree.tops:
        yield _Line(f"#{safe_name(tree.root)}", "", "no event about it", "")
    elif not any(node.job_id == tree.root for node in tree.tops):
        # The jobs name a root without an event of its own (or one that shares its stage with others): say so first.
        yield _Line(f"run #{safe_name(tree.root)}", "", "", "")
    # A stack, not recursion: a lineage may be deeper than Python's stack.
    waiting = [(node, "", "") for node in reversed(tree.tops)]
    while waiting:
        node, before, below = waiting.pop()
        yield _line(node, before)
        last = len(node.children) - 1
        for at in range(last, -1, -1):
            branch, rest = ("└─ ", "   ") if at == last else ("├─ ", "│  ")
            waiting.append((node.children[at], below + branch, below + rest))


def _line(node: Node, before: str) -> _Line:
    worker = safe_name(node.worker, NAME_WIDTH)
    marks = "  ".join(_marks(node))
    if node.job_id is not None:
        return _Line(
            f"{before}{worker} #{safe_name(node.job_id, NAME_WIDTH)}", "", one_state(node.states), marks
        )
    return _Line(before + worker, str(node.total), states(node.states) or "none seen", marks)


def _marks(node: Node) -> Iterator[str]:
    if node.spawned is not None and node.spawned != node.expected:
        yield f"⚠ {node.spawned} of {node.expected} expected"
    if node.verdict is not None and node.verdict.stuck is not None:
        yield stuck(node.verdict.stuck)
    if node.verdict is not None and node.verdict.lost is not None:
        yield lost(node.verdict.lost)
    if node.reused_ids:
        yield reused_ids(node.reused_ids)
    for mark in node.failures[:MARKS_SHOWN]:
        yield f"✗ {safe(mark.category) or 'no category'} ({mark.jobs}, {_groups(mark)})"
    if len(node.failures) > MARKS_SHOWN:
        rest = node.failures[MARKS_SHOWN:]
        yield f"✗ {plural(len(rest), 'more category', 'more categories')} ({sum(mark.jobs for mark in rest)})"
    if not node.main:
        yield "(also spawned elsewhere: its own line has what is below)"
    if not node.parent_known:
        yield "(who spawned them is not known)"
    if node.deeper:
        yield f"(… {plural(node.deeper, 'more line')} below: see `jobtrail lineage stats`)"
    if node.after:
        named = ", ".join(safe_name(after.worker, NAME_WIDTH) for after in node.after[:MARKS_SHOWN])
        more = len(node.after) - MARKS_SHOWN
        yield f"(after {named}{f' and {more} more' if more > 0 else ''})"


def _groups(mark: FailureMark) -> str:
    return "one group" if mark.groups == 1 else f"{mark.groups} groups"
