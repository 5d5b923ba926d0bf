"""Words for small things: counts of states, verdicts, times, rates, plurals."""

from collections.abc import Mapping
from datetime import UTC, datetime

from store.answers.reused_ids import ReusedId
from store.answers.verdicts import Lost, Name, Stuck, duration


def states(counts: Mapping[str, int]) -> str:
    """Return counts of states: completed 70 · available 63. For a single job use ``one_state``."""
    return " · ".join(f"{state} {count}" for state, count in counts.items())


def one_state(counts: Mapping[str, int]) -> str:
    """Return the state of a single job."""
    return " · ".join(counts)


def verdict(name: Name | None) -> str:
    """Return the verdict on a stage or a run, with a mark if somebody must act."""
    if name is None:
        return "–"
    return f"⚠ {name}" if name in ("stuck", "lost") else name.replace("_", " ")


def stuck(found: Stuck) -> str:
    """Return why a stage is stuck: ⚠ stuck for 6 min: 115 waiting, none executing, …"""
    return f"⚠ stuck for {duration(found.for_seconds)}: {found.rule}"


def lost(found: Lost) -> str:
    """Return why jobs are lost: ⚠ 1 lost: executing for 3 d, …"""
    return f"⚠ {found.jobs} lost: {found.rule}"


def cut(cut_at: int | None) -> list[str]:
    """Return a line with the limit that cut an answer and how to get the rest; none if it was not cut."""
    if cut_at is None:
        return []
    return [
        f"… cut: {cut_at} jobs were found by walking along edges, and there are more. Nothing is concluded from jobs that "
        "are not shown. Raise JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS to see all."
    ]


def reused_ids(jobs: int) -> str:
    """Return ⚠ 3 ids used again, or for a single job ⚠ id used again."""
    return "⚠ id used again" if jobs == 1 else f"⚠ {jobs} ids used again"


def reused(found: ReusedId) -> str:
    """Return id used again: 3 ends of attempt 1; the last end: retryable at …; waiting or executing again at …"""
    if found.ends > 1:
        said = [f"{found.ends} ends of attempt {found.attempt}"]
        if found.last_outcome is not None:
            said.append(f"the last end: {found.last_outcome} at {when(found.last_ended_at)}")
    elif found.last_outcome is not None:
        said = [f"attempt {found.attempt} ended, {found.last_outcome} at {when(found.last_ended_at)}"]
    else:
        said = ["its ends are from before the horizon"]
    if found.open_again_at is not None:
        said.append(f"waiting or executing again at {when(found.open_again_at)}")
    return f"id used again: {'; '.join(said)}"


def when(moment: datetime | None) -> str:
    """Return a time to the second, in UTC."""
    return "" if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def rate(value: float | None) -> str:
    """Return a share as per cent; – for none. A share below 1 is never rounded up to 100 %."""
    if value is None:
        return "–"
    return "100 %" if value == 1 else f"{min(100 * value, 99.99):.2f} %"


def plural(count: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun: 1 job, 2 jobs."""
    return f"{count} {one if count == 1 else many or one + 's'}"
