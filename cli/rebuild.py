"""`jobtrail rebuild`: the tables made anew from the log, and what came of it."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from cli.asking import json_option, say, say_json, warn
from cli.times import PastTime

if TYPE_CHECKING:
    from consumers.rebuild.preflight import Preflight

ANSWER_IS_NO = 1
COULD_NOT_BE_DONE = 2


@click.command()
@click.option(
    "--check", "--dry-run", "check", is_flag=True, help="Say what a rebuild would find; change nothing."
)
@click.option(
    "--from",
    "history_from",
    type=PastTime(),
    metavar="TIME",
    help="Read only what was published since: 90d, or 2026-11-22T20:51:03Z. What the tables hold from before may go.",
)
@click.option("--accept-loss", is_flag=True, help="Swap although the tables know more than the topic has.")
@click.option("--restart", is_flag=True, help="Give up the rebuild that was begun, and begin anew.")
@click.option("--abandon", is_flag=True, help="Give up the rebuild that was begun, and drop its tables.")
@click.option(
    "--keep-old",
    is_flag=True,
    help="Keep the old tables, as schema jobtrail_old, until the next rebuild begins.",
)
@click.option("--drop-old", is_flag=True, help="Drop the old tables that were kept.")
@json_option
@click.pass_context
def rebuild(
    context: click.Context,
    check: bool,
    history_from: datetime | None,
    accept_loss: bool,
    restart: bool,
    abandon: bool,
    keep_old: bool,
    drop_old: bool,
    as_json: bool,
) -> None:
    """Make the tables anew from the topic, beside the live ones, and swap them; goes on where it was interrupted."""
    from consumers.rebuild import run
    from consumers.rebuild.context import RebuildOptions
    from schemas.errors import InputError
    from settings.rebuild import RebuildSettings

    if sum((check, restart, abandon, drop_old)) > 1:
        raise InputError("expected one of --check, --restart, --abandon, --drop-old")
    settings = RebuildSettings.load()
    options = RebuildOptions(history_from, restart, keep_old, accept_loss)
    if abandon:
        say("abandoned; its tables are dropped." if run.abandon(settings) else "no rebuild is under way.")
        return
    if drop_old:
        say("dropped the old tables." if run.drop_old(settings) else "there are no old tables.")
        return
    if check:
        found = run.check(settings, options)
        if as_json:
            say_json(found.as_json())
        else:
            _say_preflight(found)
        context.exit(ANSWER_IS_NO if found.problems else 0)
    report = run.run(settings, options)
    if report is None:
        warn("jobtrail: interrupted; `jobtrail rebuild` goes on from there")
        context.exit(COULD_NOT_BE_DONE)
    if as_json:
        say_json(report)
    else:
        _say_report(report)
    context.exit(ANSWER_IS_NO if report["unexplained"] else 0)


def _say_preflight(found: "Preflight") -> None:
    from cli.render.safe_text import safe
    from consumers.rebuild.preflight import format_time

    log, tables = found.log, found.tables
    say(
        f"topic   {safe(found.topic, 200)}: {log.partitions} partitions, {log.entries:,} entries, {_size(log.bytes)}"
    )
    say(
        f"        published from {format_time(log.published_from)} on; its first events are of {format_time(log.speaks_from)} or later"
    )
    jobs = f"about {tables.jobs:,} jobs, " if tables.jobs > 0 else ""
    say(f"tables  {jobs}{_size(tables.bytes)}, reaching back to {format_time(tables.earliest)}")
    say(f"disk    about {_size(tables.bytes)} more until the old tables are dropped")
    if found.history_from is not None:
        gone = found.given_up
        say(
            f"--from  {gone.attempts:,} attempts, {gone.jobs:,} jobs and {gone.dead_letters:,} dead letters are older "
            f"than {format_time(found.history_from)}"
        )
    for note in found.notes:
        say(f"note    {safe(note, 2_000)}")
    for problem in found.problems:
        say(f"problem {safe(problem, 2_000)}")
    if not found.problems:
        say("nothing stands in the way.")


def _say_report(report: dict[str, Any]) -> None:
    from cli.render.tables import table

    numbers = ("equal", "says more", "only new", "given up", "only old", "different")
    columns = ("equal", "more", "only_new", "given_up", "only_old", "different")
    say(
        f"rebuilt from {report['events']:,} events ({report['expired']:,} expired, "
        f"{report['dead_letters']:,} dead letters); the new tables are live."
    )
    say("")
    say(
        table(
            ("table", *numbers),
            [[one["table"], *(f"{one[column]:,}" for column in columns)] for one in report["tables"]],
            numbers,
        )
    )
    for one in report["tables"]:
        for key in one["examples"]:
            say(f"unexplained in {one['table']}: {_named(key)}")
    if report["left_out"]:
        say(f"of another version of the fingerprint, so not compared: {', '.join(report['left_out'])}")
    if report["triage_without_group"]:
        say(
            f"{report['triage_without_group']:,} groups that somebody said something of are not met any more; that is kept."
        )
    if report["unexplained"]:
        say(
            f"{report['unexplained']:,} rows of the old tables are not explained by the topic. The old tables are kept as "
            "schema jobtrail_old until the next rebuild begins; `jobtrail rebuild --drop-old` drops them."
        )
    elif report["old_tables_kept"]:
        say("the old tables are kept as schema jobtrail_old; `jobtrail rebuild --drop-old` drops them.")


def _named(key: dict[str, Any]) -> str:
    from cli.render.safe_text import safe

    return ", ".join(f"{name} {safe(str(value), 200)}" for name, value in key.items())


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
