"""Text that several pages share: marks beside a state, and the line for a cut answer."""

from collections.abc import Iterable

from cli.render.safe_text import safe, safe_name
from cli.render.words import cut, reused
from store.answers.reused_ids import ReusedId


def state_with_marks(state: str, is_lost: bool, reused_id: ReusedId | None) -> str:
    """Return a job's state, marked when the job is lost or its id was used again."""
    return f"{state}{' ⚠ lost' if is_lost else ''}{' ⚠ id used again' if reused_id else ''}"


def reused_lines(found: Iterable[ReusedId | None]) -> list[str]:
    """Return a line for each job whose id was used again, which explains its mark."""
    return [
        f"⚠ {safe_name(job.worker)} #{safe(job.job_id)} of {safe(job.namespace)}: {reused(job)}"
        for job in found
        if job is not None
    ]


def page_text(lines: list[str], cut_at: int | None) -> str:
    """Return the lines of a page as text, with a last line if the answer was cut."""
    return "\n".join(lines + cut(cut_at))
