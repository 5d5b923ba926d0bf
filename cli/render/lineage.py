"""Formats the pages of `jobtrail lineage` except the tree and the gaps: stages, children, ancestors and jobs of a run."""

from collections import Counter

from cli.render.marks import page_text, reused_lines, state_with_marks
from cli.render.safe_text import safe, safe_name
from cli.render.tables import table
from cli.render.words import lost, plural, reused_ids, states, stuck, verdict, when
from store.answers.jobs import RunJob, RunJobs
from store.answers.lineage import Ancestors, Children, PipelineStats
from store.answers.stages import in_order


def stats_page(found: PipelineStats) -> str:
    """Return a line for each stage, and below them which stages are stuck or have lost jobs, and why."""
    rows = [
        (
            "?" if stage.depth < 0 else stage.depth,
            safe_name(stage.worker),
            stage.total,
            "–" if stage.expected is None else stage.expected,
            verdict(stage.name),
            states(stage.states),
        )
        for stage in found.stages
    ]
    lines = [
        f"run #{safe(found.root)} of {safe(found.namespace)}",
        "",
        table(
            ["depth", "worker", "total", "expected", "verdict", "states"],
            rows,
            numbers=["depth", "total", "expected"],
        ),
    ]
    for stage in found.stages:
        if stage.stuck is not None:
            lines.append(f"{safe_name(stage.worker)}: {stuck(stage.stuck)}")
        if stage.lost is not None:
            lines.append(f"{safe_name(stage.worker)}: {lost(stage.lost)}")
        if stage.reused_ids:
            lines.append(f"{safe_name(stage.worker)}: {reused_ids(stage.reused_ids)}")
    return page_text(lines, found.cut_at)


def children_page(found: Children) -> str:
    """Return the children counted by worker and state, then a list of the first ones."""
    total = sum(count.jobs for count in found.counts)
    head = (
        f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, "
        f"{state_with_marks(found.job.state, found.job_lost, found.job_reused_id)}: {plural(total, 'child', 'children')}, "
        f"{'at least ' if found.cut_at is not None else ''}{found.descendants} below it in all ({found.edges})"
    )
    by_worker: dict[str, Counter[str]] = {}
    for count in found.counts:
        by_worker.setdefault(count.worker, Counter())[count.state] += count.jobs
    lines = [
        head,
        *(
            f"  {safe_name(worker)}: {states(in_order(counts))}"
            for worker, counts in sorted(by_worker.items())
        ),
    ]
    if found.jobs:
        rows = [
            (
                job.job_id,
                job.worker,
                state_with_marks(job.state, job.lost, job.reused_id),
                job.attempt,
                job.external_id,
                ", ".join(job.kinds),
            )
            for job in found.jobs
        ]
        lines += [
            "",
            table(["job", "worker", "state", "attempt", "external id", "edge"], rows, numbers=["attempt"]),
        ]
    lines += reused_lines([found.job_reused_id, *(job.reused_id for job in found.jobs)])
    return page_text(lines + _more(total, len(found.jobs)), found.cut_at)


def ancestors_page(found: Ancestors) -> str:
    """Return the ancestors, from the farthest down."""
    job = (
        f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, "
        f"{state_with_marks(found.job.state, found.job_lost, found.job_reused_id)}"
    )
    count = plural(found.total, "ancestor")
    lines = [f"{job}: {'at least ' if found.cut_at is not None else ''}{count} ({found.edges})"]
    if found.ancestors:
        rows = [
            (
                up.distance,
                up.job_id,
                up.worker,
                state_with_marks(up.state, up.lost, up.reused_id) or "(none seen)",
                up.attempt,
                up.external_id,
            )
            for up in found.ancestors
        ]
        headers = ["edges away", "job", "worker", "state", "attempt", "external id"]
        lines += ["", table(headers, rows, numbers=["edges away", "attempt"])]
        left = found.total - len(found.ancestors)
        if left:
            lines.insert(1, f"the nearest {len(found.ancestors)} of them; {left} more are farther (--limit)")
    lines += reused_lines([*(up.reused_id for up in found.ancestors), found.job_reused_id])
    return page_text(lines, found.cut_at)


def jobs_page(found: RunJobs, worker: str | None, state: str | None) -> str:
    """Return a line for each job, with its parent and why it failed. Filters are named in the first line, not in columns."""
    asked = {"worker": worker, "state": state}
    what = "".join(f", {safe_name(value)}" for value in asked.values() if value)
    lines = [f"run #{safe(found.root)} of {safe(found.namespace)}: {plural(found.total, 'job')}{what}"]
    if found.jobs:
        rows = [
            (
                job.job_id,
                job.worker,
                state_with_marks(job.state, job.lost, job.reused_id),
                job.external_id,
                job.parent_job_id and f"{job.parent_worker or '?'} #{job.parent_job_id}",
                job.parent_external_id,
                job.error_category or job.error_type,
                job.error_message,
                job.attempt,
                when(job.since),
            )
            for job in found.jobs
        ]
        headers = [
            "job",
            "worker",
            "state",
            "external id",
            "parent",
            "parent's",
            "error",
            "message",
            "attempt",
            "since",
        ]
        kept = [
            at
            for at, header in enumerate(headers)
            if (not asked.get(header) or (header == "state" and any(map(_is_marked, found.jobs))))
            and any(row[at] not in (None, "") for row in rows)
        ]
        lines += [
            "",
            table(
                [headers[at] for at in kept], [[row[at] for at in kept] for row in rows], numbers=["attempt"]
            ),
        ]
        lines += reused_lines(job.reused_id for job in found.jobs)
    return page_text(lines + _more(found.total, len(found.jobs)), found.cut_at)


def _is_marked(job: RunJob) -> bool:
    return job.lost or job.reused_id is not None


def _more(total: int, listed: int) -> list[str]:
    return [f"… and {total - listed} more (--limit)"] if total > listed else []
