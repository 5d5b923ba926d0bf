"""Formats the pages of `jobtrail rebuild`: what it would find, and its result."""

from typing import Any

from cli.render.safe_text import safe
from cli.render.tables import table
from consumers.rebuild.preflight import Preflight, format_time


def preflight_page(found: Preflight) -> str:
    """Return what a rebuild would find."""
    log, tables = found.log, found.tables
    lines: list[str] = []
    lines.append(
        f"topic   {safe(found.topic, 200)}: {log.partitions} partitions, {log.entries:,} entries, {_size(log.bytes)}"
    )
    lines.append(
        f"        published from {format_time(log.published_from)} on; its first events occurred at {format_time(log.speaks_from)} or later"
    )
    jobs = f"about {tables.jobs:,} jobs, " if tables.jobs > 0 else ""
    lines.append(f"tables  {jobs}{_size(tables.bytes)}, reaching back to {format_time(tables.earliest)}")
    lines.append(f"disk    about {_size(tables.bytes)} more until the old tables are dropped")
    if found.history_from is not None:
        gone = found.given_up
        lines.append(
            f"--from  {gone.attempts:,} attempts, {gone.jobs:,} jobs and {gone.dead_letters:,} dead letters are older "
            f"than {format_time(found.history_from)}"
        )
    lines += [f"note    {safe(note, 2_000)}" for note in found.notes]
    lines += [f"problem {safe(problem, 2_000)}" for problem in found.problems]
    if not found.problems:
        lines.append("nothing prevents a rebuild.")
    return "\n".join(lines)


def report_page(report: dict[str, Any]) -> str:
    """Return the comparison of the new tables with the old ones."""
    lines: list[str] = []
    numbers = ("equal", "says more", "only new", "given up", "only old", "different")
    columns = ("equal", "more", "only_new", "given_up", "only_old", "different")
    lines.append(
        f"rebuilt from {report['events']:,} events ({report['expired']:,} expired, "
        f"{report['dead_letters']:,} dead letters); the new tables are live."
    )
    lines.append("")
    lines.append(
        table(
            ("table", *numbers),
            [[one["table"], *(f"{one[column]:,}" for column in columns)] for one in report["tables"]],
            numbers,
        )
    )
    lines += [
        f"unexplained in {one['table']}: {_named(key)}" for one in report["tables"] for key in one["examples"]
    ]
    if report["left_out"]:
        lines.append(
            f"of another version of the fingerprint, so not compared: {', '.join(report['left_out'])}"
        )
    if report["triage_without_group"]:
        lines.append(
            f"{report['triage_without_group']:,} triage entries are of groups that the tables no longer have. The entries are kept."
        )
    if report["unexplained"]:
        lines.append(
            f"{report['unexplained']:,} rows of the old tables are not explained by the topic. The old tables are kept as "
            "schema jobtrail_old until the next rebuild begins; `jobtrail rebuild --drop-old` drops them."
        )
    elif report["old_tables_kept"]:
        lines.append(
            "the old tables are kept as schema jobtrail_old; `jobtrail rebuild --drop-old` drops them."
        )
    return "\n".join(lines)


def _named(key: dict[str, Any]) -> str:
    return ", ".join(f"{name} {safe(str(value), 200)}" for name, value in key.items())


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
