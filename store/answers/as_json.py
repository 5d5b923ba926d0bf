"""Formats answers as JSON: times in RFC 3339 and UTC, ids as text, everything beyond ASCII escaped."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from store.answers.failures import FailureGroupDetail
from store.answers.gaps import Gaps
from store.answers.jobs import RunJobs
from store.answers.lineage import Ancestors, Children, JobTree, PipelineStats
from store.answers.sources import Sources
from store.answers.tree import Node
from store.answers.verdicts import Lost, Stuck


def dumps(value: object) -> str:
    """Return indented JSON, in the order of the fields. Only ASCII, so nothing in it can control a terminal."""
    return json.dumps(value, indent=2, default=_plain).replace("\x7f", "\\u007f")


def moment(time: datetime) -> str:
    """2026-11-22T20:51:03.123456Z"""
    # Not strftime: its %Y does not pad years before 1000.
    return time.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def row(record: Any) -> dict[str, Any]:
    """Return a NamedTuple, and those within it, as an object."""
    return {
        name: row(value) if hasattr(value, "_asdict") else value for name, value in record._asdict().items()
    }


def stats(found: PipelineStats) -> dict[str, Any]:
    """Return the JSON of `lineage stats`."""
    stages = [
        {
            "depth": stage.depth,
            "worker": stage.worker,
            "total": stage.total,
            "expected": stage.expected,
            "states": stage.states,
            "verdict": stage.name,
            "stuck": _stuck(stage.stuck),
            "lost": _lost(stage.lost),
            "reused_ids": stage.reused_ids,
        }
        for stage in found.stages
    ]
    return {"root": found.root, "namespace": found.namespace, "stages": stages} | cut(found.cut_at)


def tree(found: JobTree) -> dict[str, Any]:
    """Return the JSON of `lineage tree`: nodes in nodes."""
    head = {"root": found.root, "namespace": found.namespace, "edges": found.edges}
    return head | {"tree": [_node(node) for node in found.tops]} | cut(found.cut_at)


def children(found: Children) -> dict[str, Any]:
    """Return the JSON of `lineage children`."""
    return {
        "job_id": found.job.job_id,
        "namespace": found.namespace,
        "worker": found.job.worker,
        "state": found.job.state,
        "lost": found.job_lost,
        "reused_id": None if found.job_reused_id is None else row(found.job_reused_id),
        "edges": found.edges,
        "total": sum(count.jobs for count in found.counts),
        "counts": [row(count) for count in found.counts],
        "children": [row(job) for job in found.jobs],
        "descendants": found.descendants,
    } | cut(found.cut_at)


def ancestors(found: Ancestors) -> dict[str, Any]:
    """Return the JSON of `lineage ancestors`."""
    return {
        "job_id": found.job.job_id,
        "namespace": found.namespace,
        "worker": found.job.worker,
        "state": found.job.state,
        "lost": found.job_lost,
        "reused_id": None if found.job_reused_id is None else row(found.job_reused_id),
        "edges": found.edges,
        "count": found.total,
        "ancestors": [row(ancestor) for ancestor in found.ancestors],
    } | cut(found.cut_at)


def gaps(found: Gaps) -> dict[str, Any]:
    """Return the JSON of `lineage gaps`."""
    return {
        "root": found.root,
        "namespace": found.namespace,
        "missing_total": found.missing_total,
        "missing": [row(gap) | {"missing": gap.missing} for gap in found.missing],
        "childless_total": found.childless_total,
        "childless": [row(group) | {"warning": group.why_not == ""} for group in found.childless],
        "kept_total": found.kept_total,
        "kept": [row(kept) for kept in found.kept],
        "pending_total": found.pending_total,
        "pending": [row(pending) for pending in found.pending],
    } | cut(found.cut_at)


def jobs(found: RunJobs) -> dict[str, Any]:
    """Return the JSON of `lineage jobs`."""
    head = {"root": found.root, "namespace": found.namespace, "total": found.total}
    return head | {"jobs": [row(job) for job in found.jobs]} | cut(found.cut_at)


def failure_group(found: FailureGroupDetail) -> dict[str, Any]:
    """Return the JSON of `failures show`."""
    newest = {"newest": [row(failure) for failure in found.newest]}
    return row(found.group) | newest | {"hours": [row(hour) for hour in found.hours]}


def sources(found: Sources) -> dict[str, Any]:
    """Return the JSON of `sources`."""
    return {
        "since": moment(found.since),
        "sources": [
            row(source)
            | {"attempts_success_rate": source.attempts_rate, "final_success_rate": source.final_rate}
            for source in found.sources
        ],
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "depth": node.depth,
        "worker": node.worker,
        "job_id": node.job_id,
        "total": node.total,
        "expected": node.expected,
        "states": node.states,
        "verdict": None if node.verdict is None else node.verdict.name,
        "stuck": _stuck(None if node.verdict is None else node.verdict.stuck),
        "lost": _lost(None if node.verdict is None else node.verdict.lost),
        "reused_ids": node.reused_ids,
        "failures": [row(mark) for mark in node.failures],
        "after": [row(after) for after in node.after],
        "parent_known": node.parent_known,
        "main": node.main,
        "deeper": node.deeper,
        "children": [_node(child) for child in node.children],
    }


def _stuck(found: Stuck | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "since": moment(found.since),
        "for_seconds": round(found.for_seconds, 3),
        "waiting": found.waiting,
        "executing": found.executing,
        "lost": found.lost,
        "rule": found.rule,
    }


def _lost(found: Lost | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "jobs": found.jobs,
        "since": moment(found.since),
        "for_seconds": round(found.for_seconds, 3),
        "rule": found.rule,
    }


def cut(cut_at: int | None) -> dict[str, Any]:
    """Return what an answer about a part only has in addition: the limit that cut it, and the setting that raises it."""
    if cut_at is None:
        return {}
    return {"cut": True, "cut_at_jobs": cut_at, "cut_by": "JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS"}


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return moment(value)
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form here")
