"""Formats the page of `jobtrail runs list`."""

from cli.render.marks import reused_lines, state_with_marks
from cli.render.safe_text import safe
from cli.render.tables import table
from cli.render.words import verdict, when
from store.answers.runs import Run


def runs_page(found: list[Run], more: bool = False) -> str:
    """Return a line for each run. ``more``: there are others that are not listed."""
    if not found:
        return "no runs yet. A run is listed once an event about its root is stored."
    rows = [
        (
            run.root,
            run.worker,
            run.namespace,
            state_with_marks(run.state, is_lost=False, reused_id=run.reused_id),
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
    lines += reused_lines(run.reused_id for run in found)
    for run in found:
        others = run.reused_ids - (run.reused_id is not None)
        if others:
            below = "of a job below it" if others == 1 else f"of {others} jobs below it"
            lines.append(
                f"⚠ run #{safe(run.root)} of {safe(run.namespace)}: id used again {below}; `jobtrail lineage stats` shows "
                "the stage"
            )
    if more:
        lines.append("… and older ones (--limit)")
    return "\n".join(lines)
