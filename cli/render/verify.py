"""Formats the page of `jobtrail verify`: a line for each value or row that differs from the rows it is computed from."""

from collections.abc import Mapping, Sequence
from typing import Any

from cli.render.safe_text import safe, safe_name
from cli.render.words import plural
from cli.render.words import reused as reused_words
from store.answers.reused_ids import ReusedId
from store.verify.difference import Difference


def page(
    tables: Sequence[str],
    named: Sequence[Difference],
    counts: Mapping[str, int],
    unknown_upstreams: int | None,
    reused: Sequence[ReusedId],
    reused_total: int,
) -> str:
    """Return the differences, if any, the tables compared, and other facts worth knowing."""
    total = sum(counts.values())
    lines = [_line(difference) for difference in named]
    if total > len(named):
        lines.append(f"… and {total - len(named)} more")
    if total:
        by_table = ", ".join(f"{table} {count}" for table, count in counts.items())
        lines += ["", f"{total} {'difference' if total == 1 else 'differences'}: {by_table}."]
    else:
        lines.append(f"no difference in {', '.join(tables)}.")
    if unknown_upstreams:
        lines.append(
            f"{unknown_upstreams} edges come from jobs without an event. They are not differences: the events may still "
            "arrive, or be older than the horizon."
        )
    if reused_total:
        lines += [
            "",
            f"⚠ {plural(reused_total, 'id was', 'ids were')} used again. That is not a difference, but such a job mixes several"
            " runs: give each run its own id, or a higher attempt.",
        ]
        lines += [
            f"{safe_name(job.worker)} #{safe(job.job_id)} of {safe(job.namespace)}, {job.state}: {reused_words(job)}"
            for job in reused
        ]
        if reused_total > len(reused):
            lines.append(f"… and {reused_total - len(reused)} more")
    return "\n".join(lines)


def _line(found: Difference) -> str:
    where = f"{found.table}  {_pairs(found.key)}"
    if found.column is not None:
        return f"{where}  {found.column} is {_value(found.stored)}, expected {_value(found.expected)}"
    if found.stored is None:
        return f"{where}  is missing{_with(found.expected)}"
    return f"{where}  should not be there{_with(found.stored)}"


def _with(values: Mapping[str, Any] | None) -> str:
    return f": {_pairs(values)}" if values else ""


def _pairs(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{column} {_value(value)}" for column, value in values.items())


def _value(value: Any) -> str:
    return "none" if value is None else safe(str(value), 120) or "''"
