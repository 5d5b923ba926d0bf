"""Formats the pages of `jobtrail failures`."""

from cli.render.safe_text import safe, safe_lines
from cli.render.tables import table
from cli.render.words import plural, when
from store.answers.failures import FailureGroup, FailureGroupDetail, full_title


def failures_page(found: list[FailureGroup], more: bool = False, namespace: str | None = None) -> str:
    """Return a line for each group, without empty columns. ``more``: there are others that are not listed.

    With --since, counts are since then, and the totals have a separate column.
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
        "title": [full_title(group.error_type, group.title) for group in found],
        "first seen": [when(group.first_seen_at) for group in found],
        "last seen": [when(group.last_seen_at) for group in found],
        "samples": [" ".join(group.sample_external_ids) for group in found],
    }
    kept = [header for header, cells in columns.items() if any(cell not in ("", None) for cell in cells)]
    numbers = [header for header in ("times", "jobs", "of all") if header in kept]
    text = table(kept, list(zip(*(columns[header] for header in kept), strict=True)), numbers=numbers)
    return text + ("\n… and groups seen earlier (--limit)" if more else "")


def failure_page(found: FailureGroupDetail) -> str:
    """Return everything about one group."""
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
