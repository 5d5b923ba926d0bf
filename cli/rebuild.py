"""`jobtrail rebuild`: derive the tables again from the topic, and report how they differ."""

from datetime import datetime

import click

from cli.asking import json_option, say, say_json, warn
from cli.times import PastTime

ANSWER_IS_NO = 1
COULD_NOT_BE_DONE = 2


@click.command(short_help="Derive the tables again from the topic.")
@click.option(
    "--check", "--dry-run", "check", is_flag=True, help="Show what a rebuild would find; change nothing."
)
@click.option(
    "--from",
    "history_from",
    type=PastTime(),
    metavar="TIME",
    help="Read only what was published since: 90d, or 2026-11-22T20:51:03Z. Older rows of the tables may be lost.",
)
@click.option("--accept-loss", is_flag=True, help="Swap even if the tables have more than the topic.")
@click.option("--restart", is_flag=True, help="Drop the unfinished rebuild, and begin again.")
@click.option("--abandon", is_flag=True, help="Drop the unfinished rebuild and its tables.")
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
    """Derive the tables again from the topic, beside the live ones, and swap them. Resumes an interrupted rebuild."""
    from consumers.rebuild import run
    from consumers.rebuild.context import RebuildOptions
    from schemas.errors import InputError
    from settings.rebuild import RebuildSettings

    if sum((check, restart, abandon, drop_old)) > 1:
        raise InputError("expected one of --check, --restart, --abandon, --drop-old")
    settings = RebuildSettings.load()
    options = RebuildOptions(history_from, restart, keep_old, accept_loss)
    if abandon:
        say(
            "abandoned the rebuild and dropped its tables."
            if run.abandon(settings)
            else "no rebuild is under way."
        )
        return
    if drop_old:
        say("dropped the old tables." if run.drop_old(settings) else "there are no old tables.")
        return
    if check:
        found = run.check(settings, options)
        if as_json:
            say_json(found.as_json())
        else:
            from cli.render.rebuild import preflight_page

            say(preflight_page(found))
        context.exit(ANSWER_IS_NO if found.problems else 0)
    report = run.run(settings, options)
    if report is None:
        warn("jobtrail: interrupted; `jobtrail rebuild` resumes it")
        context.exit(COULD_NOT_BE_DONE)
    if as_json:
        say_json(report)
    else:
        from cli.render.rebuild import report_page

        say(report_page(report))
    context.exit(ANSWER_IS_NO if report["unexplained"] else 0)
