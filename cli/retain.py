"""`jobtrail retain`: delete data older than the retention."""

from typing import TYPE_CHECKING

import click

from cli.asking import json_option, say, say_json

if TYPE_CHECKING:
    import psycopg

    from settings.retain import RetainSettings
    from store.retention.plan import Plan
    from store.retention.run import Done


@click.command(short_help="Delete old data, as the aggregators do.")
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@json_option
def retain(dry_run: bool, as_json: bool) -> None:
    """Delete data older than JOBTRAIL_RETENTION_DAYS, and subtract it from the aggregates.

    A run is kept as a whole while any of its jobs is newer, or is open with an event within JOBTRAIL_RETENTION_OPEN_DAYS.
    Aggregators do this by themselves, unless JOBTRAIL_RETENTION_IN_AGGREGATOR is false. You may stop it at any time.
    """
    from cli.render import retention as form
    from settings.retain import RetainSettings
    from store.causes import Access, store_errors
    from store.connection import connect
    from store.migrate import check_version

    settings = RetainSettings.load()
    found: Plan | Done
    with (
        store_errors(
            "delete everything older; its aggregates are correct all the same", settings, Access.CHANGE
        ),
        connect(settings, "jobtrail retain", autocommit=True) as connection,
    ):
        check_version(connection)
        found = _plan(connection, settings) if dry_run else _retain(connection, settings)
    if as_json:
        say_json(form.as_json(found))
    else:
        say(form.page(found, settings.retention_days))


def _plan(connection: "psycopg.Connection", settings: "RetainSettings") -> "Plan":
    from store.retention.plan import plan

    return plan(connection, settings.retention_days, settings.retention_open_days)


def _retain(connection: "psycopg.Connection", settings: "RetainSettings") -> "Done":
    from store.retention.run import retain as work
    from store.retention.session import Pace

    return work(
        connection,
        settings.retention_days,
        settings.retention_open_days,
        pace=Pace(settings.retention_share),
        batch_rows=settings.retention_batch_rows,
    )
