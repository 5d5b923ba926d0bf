"""One page an answer: what a person reads who did not ask for JSON."""

from collections import Counter
from collections.abc import Iterable

from cli.render.safe_text import safe, safe_lines, safe_name
from cli.render.tables import table
from cli.render.words import cut, lost, plural, rate, reused, reused_ids, states, stuck, verdict, when
from store.answers.failures import FailureGroup, FailureGroupDetail, full_title
from store.answers.gaps import Announced, Childless, Gaps
from store.answers.jobs import RunJob, RunJobs
from store.answers.lineage import Ancestors, Children, PipelineStats
from store.answers.reused_ids import ReusedId
from store.answers.runs import Run
from store.answers.sources import Sources
from store.answers.stages import in_order


def stats_page(found: PipelineStats) -> str:
    """A line a stage, and below it why stages are stuck, and which have lost jobs."""
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
    return _text(lines, found.cut_at)


def children_page(found: Children) -> str:
    """The children counted by worker and state, then the first of them."""
    total = sum(count.jobs for count in found.counts)
    head = (
        f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, "
        f"{_state(found.job.state, found.job_lost, found.job_reused_id)}: {plural(total, 'child', 'children')}, "
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
                _state(job.state, job.lost, job.reused_id),
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
    lines += _reused([found.job_reused_id, *(job.reused_id for job in found.jobs)])
    return _text(lines + _more(total, len(found.jobs)), found.cut_at)


def ancestors_page(found: Ancestors) -> str:
    """From the farthest ancestor down to the job."""
    own = (
        f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, "
        f"{_state(found.job.state, found.job_lost, found.job_reused_id)}"
    )
    count = plural(found.total, "ancestor")
    lines = [f"{own}: {'at least ' if found.cut_at is not None else ''}{count} ({found.edges})"]
    if found.ancestors:
        rows = [
            (
                up.distance,
                up.job_id,
                up.worker,
                _state(up.state, up.lost, up.reused_id) or "(none seen)",
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
    lines += _reused([*(up.reused_id for up in found.ancestors), found.job_reused_id])
    return _text(lines, found.cut_at)


def jobs_page(found: RunJobs, worker: str | None, state: str | None) -> str:
    """A job a line, with whose child it is and why it failed. What was asked for stands above, and is no column."""
    asked = {"worker": worker, "state": state}
    what = "".join(f", {safe_name(value)}" for value in asked.values() if value)
    lines = [f"run #{safe(found.root)} of {safe(found.namespace)}: {plural(found.total, 'job')}{what}"]
    if found.jobs:
        rows = [
            (
                job.job_id,
                job.worker,
                _state(job.state, job.lost, job.reused_id),
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
        lines += _reused(job.reused_id for job in found.jobs)
    return _text(lines + _more(found.total, len(found.jobs)), found.cut_at)


def _is_marked(job: RunJob) -> bool:
    return job.lost or job.reused_id is not None


def gaps_page(found: Gaps) -> str:
    """A sentence a gap; then what is no gap but looks like one, and says why."""
    lines = [f"run #{safe(found.root)} of {safe(found.namespace)}"]
    if found.none and found.cut_at is not None:
        lines.append("no gap among the jobs found; whether the others have one is not known.")
    elif found.none:
        lines.append(
            "no gaps: every job that is over spawned as many children as it announced, and none lacks what siblings have."
        )
    lines += [
        f"✓ {_jobs_of(kept)} announced {kept.spawned} {safe_name(kept.child_worker)} and spawned all of them"
        for kept in found.kept
    ]
    lines += _left(found.kept_total, len(found.kept))
    lines += [
        f"· {_jobs_of(group)} announced {group.expected} {safe_name(group.child_worker)}, and spawned {group.spawned} so far"
        for group in found.pending
    ]
    lines += _left(found.pending_total, len(found.pending))
    for gap in found.missing:
        job = f"{safe_name(gap.worker)} #{safe_name(gap.job_id)}" + (
            f" ({safe(gap.external_id)})" if gap.external_id else ""
        )
        difference = f"{gap.missing} missing" if gap.missing > 0 else f"{-gap.missing} too many"
        lines.append(
            f"⚠ {job}, {gap.state}: expected {gap.expected} {safe_name(gap.child_worker)}, spawned {gap.spawned}: {difference}"
        )
    lines += _left(found.missing_total, len(found.missing))
    lines += [_childless(group) for group in found.childless]
    lines += _left(found.childless_total, len(found.childless))
    return _text(lines, found.cut_at)


def _jobs_of(announced: Announced) -> str:
    if announced.jobs == 1:
        return f"{safe_name(announced.worker)} #{safe_name(announced.job_id)}"
    return f"{safe_name(announced.worker)} ({plural(announced.jobs, 'job')})"


def _childless(group: Childless) -> str:
    worker, child = safe_name(group.worker), safe_name(group.child_worker)
    if group.of_parents:
        what = f"of {group.without} completed {worker} no child spawned a {child}, as one did of {group.with_some} others"
    else:
        what = f"{group.without} completed {worker} spawned no {child}, as {group.with_some} of their siblings did"
    named = ", ".join(f"#{safe_name(job_id, 40)}" for job_id in group.job_ids)
    more = group.without - len(group.job_ids)
    named += f" and {more} more (--limit)" if more > 0 else ""
    if not group.why_not:
        return f"⚠ {what}: {named}"
    why = {"siblings": "too few did for a warning", "at_work": "no warning yet: the run is at work"}
    return f"· {what} ({why[group.why_not]}): {named}"


def runs_page(found: list[Run], more: bool = False) -> str:
    """A line a run; ``more``: there are others that are not listed."""
    if not found:
        return "no runs yet. A run is listed once an event about its root is stored."
    rows = [
        (
            run.root,
            run.worker,
            run.namespace,
            _state(run.state, is_lost=False, reused_id=run.reused_id),
            verdict(run.verdict),
            run.total if run.cut_at is None else f"{run.total}+",
            run.discarded,
            run.waiting,
            run.executing,
            when(run.started_at),
            when(run.last_change_at) or "(too many jobs to tell)",
        )
        for run in found
    ]
    counts = ["jobs", "discarded", "waiting", "executing"]
    headers = ["root", "worker", "namespace", "state", "verdict", *counts, "started", "last change"]
    lines = [table(headers, rows, numbers=counts)]
    cut_at = max((run.cut_at for run in found if run.cut_at is not None), default=None)
    if cut_at is not None:
        lines.append(
            f"+: more than {cut_at} jobs do not say their root, and these are not all of them. "
            "`jobtrail lineage stats ROOT` counts all."
        )
    lines += _reused(run.reused_id for run in found)
    for run in found:
        others = run.reused_ids - (run.reused_id is not None)
        if others:
            below = "of a job below it" if others == 1 else f"of {others} jobs below it"
            lines.append(
                f"⚠ run #{safe(run.root)} of {safe(run.namespace)}: id used again {below}; `jobtrail lineage stats` says "
                "of which stage"
            )
    if more:
        lines.append("… and older ones (--limit)")
    return "\n".join(lines)


def failures_page(found: list[FailureGroup], more: bool = False, namespace: str | None = None) -> str:
    """Return a line for each group; ``more``: there are others that are not listed. Columns without a value are left out.

    A list since a time counts since then, and has the totals in a column of their own.
    """
    if not found:
        return "no failures."
    since = found[0].occurrence_count_since is not None
    columns: dict[str, list[object]] = {
        "group": [str(group.id)[:8] for group in found],
        "times": [group.occurrence_count_since if since else group.occurrence_count for group in found],
        "jobs": [group.job_count_since if since else group.job_count for group in found],
        "of all": [group.occurrence_count if since else "" for group in found],
        "namespace": ["" if namespace else group.namespace for group in found],
        "source": [group.source for group in found],
        "worker": [" ".join(group.sample_workers) for group in found],
        "category": [group.category for group in found],
        "type": [group.error_type for group in found],
        "title": [group.full_title for group in found],
        "first seen": [when(group.first_seen_at) for group in found],
        "last seen": [when(group.last_seen_at) for group in found],
        "samples": [" ".join(group.sample_external_ids) for group in found],
    }
    kept = [header for header, cells in columns.items() if any(cell not in ("", None) for cell in cells)]
    numbers = [header for header in ("times", "jobs", "of all") if header in kept]
    text = table(kept, list(zip(*(columns[header] for header in kept), strict=True)), numbers=numbers)
    return text + ("\n… and groups seen earlier (--limit)" if more else "")


def failure_page(found: FailureGroupDetail) -> str:
    """All about one group."""
    group = found.group
    lines = [
        safe(full_title(group.error_type, group.title), 200),
        "",
        f"group      {group.id}",
        f"namespace  {safe(group.namespace)}",
        f"source     {safe(group.source)}",
        f"category   {safe(group.category)}",
        f"type       {safe(group.error_type)}",
        f"seen       {plural(group.occurrence_count, 'time')} in {plural(group.job_count, 'job')}, "
        f"from {when(group.first_seen_at)} to {when(group.last_seen_at)}",
    ]
    if found.newest:
        rows = [
            (
                job.job_id,
                job.worker,
                job.state,
                job.attempt,
                job.external_id,
                job.message,
                when(job.finished_at),
            )
            for job in found.newest
        ]
        headers = ["job", "worker", "state", "attempt", "external id", "message", "failed at"]
        lines += ["", "the newest:", "", table(headers, rows, numbers=["attempt"])]
        newest = found.newest[0]
        if newest.origin:
            lines += ["", f"origin     {safe(newest.origin, 200)}"]
        if newest.stacktrace:
            lines += ["", f"stack trace of #{safe(newest.job_id)}:", ""]
            lines += [f"    {line}" for line in safe_lines(newest.stacktrace)]
    return "\n".join(lines)


def sources_page(found: Sources) -> str:
    """A line a source."""
    if not found.sources:
        return f"no attempt has ended since {when(found.since)}."
    rows = [
        (
            source.source or "(not known)",
            source.namespace,
            _share(source.completed, source.attempts, source.attempts_rate),
            _share(source.completed, source.final_outcomes, source.final_rate),
            source.recovered,
            source.cancelled,
        )
        for source in found.sources
    ]
    numbers = ["attempts completed", "final outcomes completed", "recovered jobs", "cancelled attempts"]
    headers = ["source", "namespace", *numbers]
    return f"since {when(found.since)}\n\n" + table(headers, rows, numbers=numbers)


def _share(part: int, whole: int, share: float | None) -> str:
    return f"{part} of {whole}, {rate(share)}" if whole else rate(share)


def _state(state: str, is_lost: bool, reused_id: ReusedId | None) -> str:
    return f"{state}{' ⚠ lost' if is_lost else ''}{' ⚠ id used again' if reused_id else ''}"


def _reused(found: Iterable[ReusedId | None]) -> list[str]:
    """Why some states are marked: a line for each job."""
    return [
        f"⚠ {safe_name(job.worker)} #{safe(job.job_id)} of {safe(job.namespace)}: {reused(job)}"
        for job in found
        if job is not None
    ]


def _more(total: int, shown: int) -> list[str]:
    return [f"… and {total - shown} more (--limit)"] if total > shown else []


def _left(total: int, shown: int) -> list[str]:
    return [f"  … and {total - shown} more like these (--limit)"] if total > shown else []


def _text(lines: list[str], cut_at: int | None) -> str:
    return "\n".join(lines + cut(cut_at))
