"""One page an answer: what a person reads who did not ask for JSON."""

from collections import Counter

from cli.render.safe_text import safe, safe_lines, safe_name
from cli.render.tables import table
from cli.render.words import plural, rate, states, stuck, when
from store.answers.failures import FailureGroup, FailureGroupDetail
from store.answers.gaps import Gaps
from store.answers.jobs import RunJobs
from store.answers.lineage import Ancestors, Children, PipelineStats
from store.answers.runs import Run
from store.answers.sources import Sources
from store.answers.stages import in_order

_CUT = "cut: more jobs hang on by edges alone than are walked to (JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS)"


def stats_page(found: PipelineStats) -> str:
    """A line a stage, and below it the stages that are stuck."""
    rows = [
        (
            "?" if stage.depth < 0 else stage.depth,
            safe_name(stage.worker),
            stage.total,
            "–" if stage.expected is None else stage.expected,
            states(stage.states),
        )
        for stage in found.stages
    ]
    lines = [
        f"run #{safe(found.root)} of {safe(found.namespace)}",
        "",
        table(
            ["depth", "worker", "total", "expected", "states"], rows, numbers=["depth", "total", "expected"]
        ),
    ]
    lines += [
        f"{safe_name(stage.worker)}: {stuck(stage.stuck)}"
        for stage in found.stages
        if stage.stuck is not None
    ]
    return _text(lines, found.cut)


def children_page(found: Children) -> str:
    """The children counted by worker and state, then the first of them."""
    total = sum(count.jobs for count in found.counts)
    head = (
        f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, {found.job.state}: "
        f"{plural(total, 'child', 'children')}, {found.descendants} below it in all ({found.edges})"
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
            (job.job_id, job.worker, job.state, job.attempt, job.external_id, job.kind) for job in found.jobs
        ]
        lines += [
            "",
            table(["job", "worker", "state", "attempt", "external id", "edge"], rows, numbers=["attempt"]),
        ]
    return _text(lines + _more(total, len(found.jobs)), found.cut)


def ancestors_page(found: Ancestors, most: int = 100) -> str:
    """From the farthest ancestor down to the job."""
    own = f"{safe_name(found.job.worker)} #{safe(found.job.job_id)} of {safe(found.namespace)}, {found.job.state}"
    count = len(found.ancestors)
    lines = [f"{own}: {plural(count, 'ancestor')} ({found.edges})"]
    if found.ancestors:
        shown = found.ancestors[-most:]
        rows = [(up.distance, up.job_id, up.worker, up.state, up.attempt, up.external_id) for up in shown]
        headers = ["edges away", "job", "worker", "state", "attempt", "external id"]
        lines += ["", table(headers, rows, numbers=["edges away", "attempt"])]
        lines += _more(count, len(shown))
    return _text(lines, found.cut)


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
                job.state,
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
            if not asked.get(header) and any(row[at] not in (None, "") for row in rows)
        ]
        lines += [
            "",
            table(
                [headers[at] for at in kept], [[row[at] for at in kept] for row in rows], numbers=["attempt"]
            ),
        ]
    return _text(lines + _more(found.total, len(found.jobs)), found.cut)


def gaps_page(found: Gaps) -> str:
    """A sentence a gap."""
    lines = [f"run #{safe(found.root)} of {safe(found.namespace)}"]
    if found.none:
        lines.append(
            "no gaps: every job spawned as many children as it announced, and none lacks what siblings have."
        )
    for kept in found.kept:
        who = f" #{safe_name(kept.job_id)}" if kept.jobs == 1 else f" ({plural(kept.jobs, 'job')})"
        lines.append(
            f"✓ {safe_name(kept.worker)}{who} announced {kept.spawned} {safe_name(kept.child_worker)} "
            "and spawned all of them"
        )
    for gap in found.missing:
        job = f"{safe_name(gap.worker)} #{safe_name(gap.job_id)}" + (
            f" ({safe(gap.external_id)})" if gap.external_id else ""
        )
        difference = f"{gap.missing} missing" if gap.missing > 0 else f"{-gap.missing} too many"
        lines.append(
            f"⚠ {job}, {gap.state}: expected {gap.expected} {safe_name(gap.child_worker)}, spawned {gap.spawned}: {difference}"
        )
    if found.missing_total > len(found.missing):
        lines.append(
            f"  … and {plural(found.missing_total - len(found.missing), 'more job')} like these (--limit)"
        )
    for group in found.barren:
        named = ", ".join(f"#{safe_name(job_id, 40)}" for job_id in group.job_ids)
        more = group.without - len(group.job_ids)
        lines.append(
            f"⚠ {group.without} completed {safe_name(group.worker)} spawned no {safe_name(group.child_worker)}, "
            f"as {group.with_some} of their siblings did: {named}{f' and {more} more' if more > 0 else ''}"
        )
    return _text(lines, found.cut)


def runs_page(found: list[Run]) -> str:
    """A line a run."""
    if not found:
        return (
            "no runs yet. A job is the root of a run when its events say so: root_job_id = job_id, depth = 0."
        )
    rows = [
        (
            run.root,
            run.worker,
            run.namespace,
            run.state,
            run.total,
            run.failed,
            run.waiting,
            run.executing,
            when(run.started_at),
            when(run.last_change_at) or "(too many jobs to tell)",
        )
        for run in found
    ]
    headers = [
        "root",
        "worker",
        "namespace",
        "state",
        "jobs",
        "failed",
        "waiting",
        "executing",
        "started",
        "last change",
    ]
    return table(headers, rows, numbers=["jobs", "failed", "waiting", "executing"])


def failures_page(found: list[FailureGroup]) -> str:
    """A line a group."""
    if not found:
        return "no failures."
    rows = [
        (
            str(group.id)[:8],
            group.occurrence_count,
            group.job_count,
            group.source,
            group.category,
            group.error_type,
            group.title,
            when(group.last_seen_at),
            " ".join(group.sample_external_ids),
        )
        for group in found
    ]
    headers = ["group", "times", "jobs", "source", "category", "type", "title", "last seen", "samples"]
    return table(headers, rows, numbers=["times", "jobs"])


def failure_page(found: FailureGroupDetail) -> str:
    """All about one group."""
    group = found.group
    lines = [
        safe(group.title, 200),
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


def _more(total: int, shown: int) -> list[str]:
    return [f"… and {total - shown} more (--limit)"] if total > shown else []


def _text(lines: list[str], cut: bool) -> str:
    return "\n".join(lines + ([_CUT] if cut else []))
