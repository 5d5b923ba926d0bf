"""Builds the tree of stages from the links between them. Pure; no I/O.

A stage is drawn, with everything below it, under its main parent stage: the one that spawned most of its jobs, or the last
of the stages that had to finish first. If several stages spawned jobs of a stage, it also has a line under each of the
others, with only the jobs from there.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from store.answers.judging import Key
from store.answers.stages import Stage, in_order
from store.answers.verdicts import Verdict

# A crawler's jobs may spawn each other a thousand levels deep. Nobody reads that as a tree, and JSON parsers refuse it.
MAX_NESTING = 100


class FailureMark(NamedTuple):
    """Jobs of a stage that are failed now with one error category, and the number of their failure groups."""

    category: str
    jobs: int
    groups: int


class After(NamedTuple):
    """A stage whose jobs had to finish first, and the number of edges from it."""

    depth: int
    worker: str
    edges: int


class Link(NamedTuple):
    """Jobs of a stage in one state that one parent stage spawned (None: not known)."""

    parent: Key | None
    child: Key
    state: str
    jobs: int
    sample_job_id: str


class Dependency(NamedTuple):
    """How many ``depends_on`` edges lead from one stage to another, and to how many of its jobs."""

    parent: Key
    child: Key
    edges: int
    jobs: int


@dataclass(frozen=True)
class Node:
    """A line of the tree. ``main``: the stage's main line, with its marks and what is below it.

    ``job_id`` is set on the line of a single job. ``parent_known`` is False for jobs that are drawn below the root only
    because it is not known who spawned them. ``deeper`` counts the lines below it that are left out: a tree nests no deeper
    than ``MAX_NESTING``.
    """

    depth: int
    worker: str
    total: int
    states: dict[str, int]
    job_id: str | None = None
    expected: int | None = None
    spawned: int | None = None
    verdict: Verdict | None = None
    reused_ids: int = 0
    failures: tuple[FailureMark, ...] = ()
    after: tuple[After, ...] = ()
    parent_known: bool = True
    main: bool = True
    deeper: int = 0
    children: tuple["Node", ...] = field(default=())


# The parent stages of each stage (None: not known), each with its weight: the parent with the greatest weight is the main one.
Weights = dict[Key, dict[Key | None, tuple[int, int]]]


def spawn_tree(
    stages: Iterable[Stage],
    links: Iterable[Link],
    marks: Mapping[Key, tuple[FailureMark, ...]],
    root: Key | None,
) -> tuple[Node, ...]:
    """Return the trees of stages by who spawned whom; normally one, that of the root's stage."""
    states: dict[tuple[Key | None, Key], dict[str, int]] = defaultdict(dict)
    sample: dict[tuple[Key | None, Key], str] = {}
    for link in links:
        pair = (link.parent, link.child)
        states[pair][link.state] = states[pair].get(link.state, 0) + link.jobs
        sample[pair] = min(sample.get(pair, link.sample_job_id), link.sample_job_id)
    lines: dict[tuple[Key | None, Key], Node] = {}
    weights: Weights = defaultdict(dict)
    for (parent, key), counts in states.items():
        total = sum(counts.values())
        weights[key][parent] = (0, total)
        lines[parent, key] = Node(
            depth=key.depth,
            worker=key.worker,
            total=total,
            states=in_order(counts),
            job_id=sample[parent, key] if total == 1 else None,
            parent_known=parent is not None
            or key == root
            or (root is not None and key.depth == root.depth + 1),
        )
    by_key = {Key(stage.depth, stage.worker): stage for stage in stages}
    for key in by_key:  # announced, but none seen
        if key not in weights:
            weights[key][_expecting(key, by_key, root)] = (0, 0)
            lines[_expecting(key, by_key, root), key] = Node(key.depth, key.worker, 0, {})
    main = _main_parents(weights, root)
    for key, parent in main.items():
        if key in weights and (parent, key) not in lines:
            # Every link would close a circle: place the stage at the top, by its heaviest link.
            heaviest = max(weights[key], key=lambda other: weights[key][other])
            lines[parent, key] = replace(lines.pop((heaviest, key)), parent_known=False)
        stage = by_key.get(key)
        if stage is not None:
            lines[parent, key] = replace(
                lines[parent, key],
                expected=stage.expected,
                spawned=stage.spawned,
                verdict=stage.verdict,
                reused_ids=stage.reused_ids,
                failures=marks.get(key, ()),
            )
    lines = {
        (parent, key): line if main[key] == parent else replace(line, main=False)
        for (parent, key), line in lines.items()
    }
    return _assemble(lines, main, root)


def dependency_tree(
    stages: Iterable[Stage],
    links: Iterable[Dependency],
    marks: Mapping[Key, tuple[FailureMark, ...]],
    root: Key | None,
) -> tuple[Node, ...]:
    """Return the stages by what had to finish first: each once, under the last stage it waited for, naming the others."""
    after = afters(links)
    place = order_of(after)
    weights: Weights = {}
    by_key = {Key(stage.depth, stage.worker): stage for stage in stages}
    for key in by_key:
        waits = {Key(up.depth, up.worker): up.edges for up in after.get(key, ())}
        weights[key] = {up: (place.get(up, 0), edges) for up, edges in waits.items()} or {None: (0, 0)}
    main = _main_parents(weights, root)
    lines: dict[tuple[Key | None, Key], Node] = {}
    for key, stage in by_key.items():
        others = tuple(up for up in after.get(key, ()) if Key(up.depth, up.worker) != main[key])
        lines[main[key], key] = Node(
            depth=key.depth,
            worker=key.worker,
            total=stage.total,
            states=stage.states,
            expected=stage.expected,
            spawned=stage.spawned,
            verdict=stage.verdict,
            reused_ids=stage.reused_ids,
            failures=marks.get(key, ()),
            after=others,
        )
    return _assemble(lines, main, root)


def afters(links: Iterable[Dependency]) -> dict[Key, tuple[After, ...]]:
    """Return for each stage the other stages whose jobs had to finish first, those with the most edges first."""
    found: dict[Key, list[After]] = defaultdict(list)
    for link in links:
        if link.parent != link.child:
            found[link.child].append(After(link.parent.depth, link.parent.worker, link.edges))
    return {
        key: tuple(sorted(ups, key=lambda up: (-up.edges, up.depth, up.worker))) for key, ups in found.items()
    }


def _expecting(key: Key, by_key: dict[Key, Stage], root: Key | None) -> Key | None:
    """Return the parent of a stage without jobs: the root, or the first stage one level up."""
    if root is not None and root.depth == key.depth - 1:
        return root
    return next((other for other in sorted(by_key) if other.depth == key.depth - 1), None)


def order_of(after: Mapping[Key, tuple[After, ...]]) -> dict[Key, int]:
    """Return the longest path to each stage from one that waits for none. Stages in or behind a circle are left out."""
    open_waits = {key: len(ups) for key, ups in after.items()}
    below: dict[Key, list[Key]] = defaultdict(list)
    for key, ups in after.items():
        for up in ups:
            below[Key(up.depth, up.worker)].append(key)
    order = {key: 0 for key in below if key not in after}
    ready = list(order)
    while ready:
        done = ready.pop()
        for key in below.get(done, ()):
            order[key] = max(order.get(key, 0), order[done] + 1)
            open_waits[key] -= 1
            if open_waits[key] == 0:
                ready.append(key)
    return order


def _main_parents(weights: Weights, root: Key | None) -> dict[Key, Key | None]:
    """Return the main parent of each stage: the heaviest link that does not close a circle."""
    main: dict[Key, Key | None] = {} if root is None else {root: None}

    above: dict[Key | None, Key | None] = {}

    def top(key: Key | None) -> Key | None:
        """Return the top of the tree that the stage is in so far, and shorten the path for the next call."""
        path = []
        while key in above:
            path.append(key)
            key = above[key]
        for passed in path:
            above[passed] = key
        return key

    ordered = sorted(
        ((weight, parent, key) for key, parents in weights.items() for parent, weight in parents.items()),
        key=lambda link: (-link[0][0], -link[0][1], link[1] is None, link[1] or Key(-1, ""), link[2]),
    )
    for _, parent, key in ordered:
        if key not in main and (parent is None or top(parent) != key):
            main[key] = parent
            if parent is not None:
                above[key] = parent
    return main | {key: None for key in weights if key not in main}


def _assemble(
    lines: dict[tuple[Key | None, Key], Node], main: dict[Key, Key | None], root: Key | None
) -> tuple[Node, ...]:
    """Place each line below its parent stage's own line, and lines without a parent below the root, if there is one."""
    below: dict[Key | None, list[Node]] = defaultdict(list)
    for (parent, key), line in lines.items():
        at = root if parent is None and key != root else parent
        if key == root and parent is not None:
            continue  # a circle back to the root
        below[at].append(line)

    def grown(node: Node, level: int = 0) -> Node:
        if not node.main:
            return node
        if level == MAX_NESTING:
            return replace(node, deeper=_count(node, below))
        children = sorted(below.pop(Key(node.depth, node.worker), []), key=_place)
        return replace(node, children=tuple(grown(child, level + 1) for child in children))

    tops = [grown(node) for node in sorted(below.pop(None, []), key=_place)]
    while below:  # lines below a stage without a main line
        _, orphans = below.popitem()
        tops.extend(grown(node) for node in orphans)
    return tuple(tops)


def _place(node: Node) -> tuple[int, str]:
    return node.depth, node.worker


def _count(node: Node, below: dict[Key | None, list[Node]]) -> int:
    """Remove all lines below one from ``below``, and return their number."""
    waiting, count = [node], 0
    while waiting:
        line = waiting.pop()
        children = below.pop(Key(line.depth, line.worker), []) if line.main else []
        count += len(children)
        waiting.extend(children)
    return count
