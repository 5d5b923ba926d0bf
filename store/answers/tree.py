"""The tree of stages: which stage hangs below which, from the links between them. Pure; no I/O.

A stage is drawn with what is below it under its main parent stage: the one most of its jobs came from. Where jobs of
one stage were spawned by several stages, it also has a line under each of the others, with the jobs from there alone.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from store.answers.stages import Stage, in_order
from store.answers.stuck import Stuck


class Key(NamedTuple):
    """Names a stage."""

    depth: int
    worker: str


class FailureMark(NamedTuple):
    """Jobs of a stage that stand failed now, of one error category, and in how many failure groups."""

    category: str
    jobs: int
    groups: int


class After(NamedTuple):
    """A stage whose jobs had to finish first: by how many edges."""

    depth: int
    worker: str
    edges: int


class Link(NamedTuple):
    """Jobs of a stage that came from one parent stage (None: not known) and stand in one state."""

    parent: Key | None
    child: Key
    state: str
    jobs: int
    sample_job_id: str


class Dependency(NamedTuple):
    """Edges from one stage to another over depends_on."""

    parent: Key
    child: Key
    edges: int
    jobs: int


@dataclass(frozen=True)
class Node:
    """A line of the tree. ``main``: the stage's own line, which carries its marks and what is below it.

    ``job_id`` is set where the line stands for a single job. ``parent_known`` is False for jobs that hang below the
    root only because nobody said who spawned them.
    """

    depth: int
    worker: str
    total: int
    states: dict[str, int]
    job_id: str | None = None
    expected: int | None = None
    stage_total: int = 0
    stuck: Stuck | None = None
    failures: tuple[FailureMark, ...] = ()
    after: tuple[After, ...] = ()
    parent_known: bool = True
    main: bool = True
    children: tuple["Node", ...] = field(default=())


def spawn_tree(
    stages: Iterable[Stage],
    links: Iterable[Link],
    marks: dict[Key, tuple[FailureMark, ...]],
    root: Key | None,
) -> tuple[Node, ...]:
    """The forest of stages by who spawned whom; normally one tree, that of the root's stage."""
    states: dict[tuple[Key | None, Key], dict[str, int]] = defaultdict(dict)
    sample: dict[tuple[Key | None, Key], str] = {}
    for link in links:
        pair = (link.parent, link.child)
        states[pair][link.state] = states[pair].get(link.state, 0) + link.jobs
        sample[pair] = min(sample.get(pair, link.sample_job_id), link.sample_job_id)
    lines: dict[tuple[Key | None, Key], Node] = {}
    weights: dict[Key, dict[Key | None, int]] = defaultdict(dict)
    for (parent, key), counts in states.items():
        total = sum(counts.values())
        weights[key][parent] = total
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
    for key in by_key:  # expected, and none was heard of
        if key not in weights:
            weights[key][_expecting(key, by_key, root)] = 0
            lines[_expecting(key, by_key, root), key] = Node(key.depth, key.worker, 0, {})
    main = _main_parents(weights, root)
    for key, parent in main.items():
        stage = by_key.get(key)
        if stage is not None:
            lines[parent, key] = replace(
                lines[parent, key],
                expected=stage.expected,
                stage_total=stage.total,
                stuck=stage.stuck,
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
    marks: dict[Key, tuple[FailureMark, ...]],
    root: Key | None,
) -> tuple[Node, ...]:
    """The stages by what had to finish first: each once, under the stage with most edges to it, the others named."""
    after = afters(links)
    weights: dict[Key, dict[Key | None, int]] = {}
    by_key = {Key(stage.depth, stage.worker): stage for stage in stages}
    for key in by_key:
        weights[key] = {Key(up.depth, up.worker): up.edges for up in after.get(key, ())} or {None: 0}
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
            stage_total=stage.total,
            stuck=stage.stuck,
            failures=marks.get(key, ()),
            after=others,
        )
    return _assemble(lines, main, root)


def afters(links: Iterable[Dependency]) -> dict[Key, tuple[After, ...]]:
    """For each stage the other stages whose jobs had to finish first, most edges first."""
    found: dict[Key, list[After]] = defaultdict(list)
    for link in links:
        if link.parent != link.child:
            found[link.child].append(After(link.parent.depth, link.parent.worker, link.edges))
    return {
        key: tuple(sorted(ups, key=lambda up: (-up.edges, up.depth, up.worker))) for key, ups in found.items()
    }


def _expecting(key: Key, by_key: dict[Key, Stage], root: Key | None) -> Key | None:
    """Where to hang a stage that has no job: below the root, or the first stage one level up."""
    if root is not None and root.depth == key.depth - 1:
        return root
    return next((other for other in sorted(by_key) if other.depth == key.depth - 1), None)


def _main_parents(weights: dict[Key, dict[Key | None, int]], root: Key | None) -> dict[Key, Key | None]:
    """For each stage its main parent: the heaviest link first, and never one that would close a circle."""
    main: dict[Key, Key | None] = {} if root is None else {root: None}

    def closes_a_circle(key: Key, parent: Key | None) -> bool:
        while parent is not None:
            if parent == key:
                return True
            parent = main.get(parent)
        return False

    ordered = sorted(
        ((weight, parent, key) for key, parents in weights.items() for parent, weight in parents.items()),
        key=lambda link: (-link[0], link[1] is None, link[1] or Key(-1, ""), link[2]),
    )
    for _, parent, key in ordered:
        if key not in main and not closes_a_circle(key, parent):
            main[key] = parent
    return main | {key: None for key in weights if key not in main}


def _assemble(
    lines: dict[tuple[Key | None, Key], Node], main: dict[Key, Key | None], root: Key | None
) -> tuple[Node, ...]:
    """Hang each line below its parent stage's own line; those without a parent below the root, if there is one."""
    below: dict[Key | None, list[Node]] = defaultdict(list)
    for (parent, key), line in lines.items():
        at = root if parent is None and key != root else parent
        if key == root and parent is not None:
            continue  # a circle back to the root
        below[at].append(line)

    def grown(node: Node) -> Node:
        if not node.main:
            return node
        children = below.pop(Key(node.depth, node.worker), [])
        return replace(
            node,
            children=tuple(grown(child) for child in sorted(children, key=lambda n: (n.depth, n.worker))),
        )

    tops = [grown(node) for node in sorted(below.pop(None, []), key=lambda n: (n.depth, n.worker))]
    while below:  # what hangs below a stage that has no line of its own
        _, orphans = below.popitem()
        tops.extend(grown(node) for node in orphans)
    return tuple(tops)
