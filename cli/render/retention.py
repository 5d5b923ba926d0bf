"""Formats what retention did or would do, as a page and as JSON."""

from datetime import date
from typing import Any

from store.retention.plan import Plan
from store.retention.run import Done

_DAYS_SHOWN = 20


def page(found: Plan | Done, keep_days: int) -> str:
    """Return the page."""
    if not keep_days:
        return "JOBTRAIL_RETENTION_DAYS is 0: everything is kept."
    return _planned(found) if isinstance(found, Plan) else _did(found)


def as_json(found: Plan | Done) -> dict[str, Any]:
    """Return plain data. Dates are days of UTC; null: nothing has been deleted."""
    if isinstance(found, Plan):
        return {
            **found._asdict(),
            "horizon": _iso(found.horizon),
            "wanted": _iso(found.wanted),
            "open_horizon": _iso(found.open_horizon),
            "open_wanted": _iso(found.open_wanted),
            "days": [{**day._asdict(), "day": day.day.isoformat()} for day in found.days],
        }
    return {
        "busy": found.busy,
        "horizon_before": _iso(found.horizon_before),
        "horizon": _iso(found.horizon),
        "open_horizon_before": _iso(found.open_horizon_before),
        "open_horizon": _iso(found.open_horizon),
        "days": found.attempts.partitions,
        "attempts_without_partition": found.attempts.rows,
        "jobs": found.rows.jobs,
        "edges": found.rows.edges,
        "dead_letters": found.rows.dead_letters,
    }


def _planned(found: Plan) -> str:
    if found.is_empty:
        lines = [
            f"nothing would be deleted: the horizon is {_word(found.horizon)}, and what expired by it was deleted."
        ]
        return "\n".join(lines + _kept(found))
    lines = [
        f"the horizon would advance from {_word(found.horizon)} to {_word(found.wanted)}, "
        f"that of open jobs from {_word(found.open_horizon)} to {_word(found.open_wanted)}"
    ]
    lines += [
        f"  {day.name}: about {day.attempts:,} attempts, {day.bytes / 1e6:,.1f} MB"
        for day in found.days[:_DAYS_SHOWN]
    ]
    if len(found.days) > _DAYS_SHOWN:
        rest = found.days[_DAYS_SHOWN:]
        lines.append(
            f"  {len(rest)} more days, to {rest[-1].day}: about {sum(day.attempts for day in rest):,} attempts, "
            f"{sum(day.bytes for day in rest) / 1e6:,.1f} MB"
        )
    if found.attempts_without_partition:
        lines.append(f"  {found.attempts_without_partition:,} attempts of days without a partition")
    lines += [
        f"  {found.jobs:,} jobs, {found.edges:,} edges, {found.dead_letters:,} dead letters",
        f"  {found.failure_groups:,} failure groups; {found.failure_groups_changed:,} more would have fewer failures",
        f"  {found.failure_group_hours:,} hours of failure groups, {found.outcome_hours:,} hours of outcomes",
    ]
    return "\n".join(lines + _kept(found))


def _kept(found: Plan) -> list[str]:
    if not found.jobs_kept:
        return []
    return [
        f"  {found.jobs_kept:,} jobs older than the horizon would stay: they are open, another job of their run is open or newer, "
        "or they ended late and go when the horizon advances"
    ]


def _did(done: Done) -> str:
    if done.busy:
        return "another process is deleting old data, so this one did nothing."
    horizons = (done.horizon, done.open_horizon)
    before = (done.horizon_before, done.open_horizon_before)
    if horizons == before and not (done.attempts.partitions or done.rows.jobs):
        return f"nothing to do: the horizon is {_word(done.horizon)}, and what expired by it was deleted."
    return "\n".join(
        [
            f"the horizon advanced from {_word(done.horizon_before)} to {_word(done.horizon)}, "
            f"that of open jobs from {_word(done.open_horizon_before)} to {_word(done.open_horizon)}",
            f"  {len(done.attempts.partitions):,} days of attempts, and {done.attempts.rows:,} attempts one by one",
            f"  {done.rows.jobs:,} jobs, {done.rows.edges:,} edges, {done.rows.dead_letters:,} dead letters",
        ]
    )


def _iso(day: date | None) -> str | None:
    return day.isoformat() if day else None


def _word(day: date | None) -> str:
    return day.isoformat() if day else "nowhere"
