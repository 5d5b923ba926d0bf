"""Formats the page of `jobtrail lineage gaps`."""

from cli.render.marks import page_text
from cli.render.safe_text import safe, safe_name
from cli.render.words import plural
from store.answers.gaps import Announced, Childless, Gaps


def gaps_page(found: Gaps) -> str:
    """Return a line for each gap, and for what looks like a gap, with the reason why it is not one."""
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
    return page_text(lines, found.cut_at)


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


def _left(total: int, listed: int) -> list[str]:
    return [f"  … and {total - listed} more like these (--limit)"] if total > listed else []
