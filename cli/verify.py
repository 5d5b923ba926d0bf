"""`jobtrail verify`: check that the tables agree with each other."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

import click

from cli.asking import json_option, limit_option, say, say_json
from cli.times import PastTime
from store.verify.difference import TABLES, Difference

if TYPE_CHECKING:
    import psycopg

    from store.verify.run import Progress


@click.command(short_help="Compare aggregates, jobs and edges with their rows.")
@click.option(
    "--table",
    "tables",
    type=click.Choice(TABLES),
    multiple=True,
    help="Compare only rows of this table; may be given several times.",
)
@click.option(
    "--since",
    type=PastTime(),
    metavar="TIME",
    help="Compare hourly aggregates, and jobs with their attempts, only since 30m, 24h, 7d, or a time.",
)
@limit_option(100, "differences")
@json_option
@click.pass_context
def verify(
    context: click.Context, tables: tuple[str, ...], since: datetime | None, limit: int, as_json: bool
) -> None:
    """Compare each aggregate, job and edge with the rows it is computed from, and list those that differ.

    Also lists the jobs whose id was used again, which do not count as differences. Runs beside the services, in bounded
    memory. Exits with 1 if anything differs.
    """
    from cli.render.verify import page
    from store.answers import as_json as json_form
    from store.answers.reused_ids import describe_reused_ids
    from store.verify.reused_ids import reused_ids
    from store.verify.run import unknown_upstreams
    from store.verify.run import verify as differing

    asked = tables or TABLES
    named: list[Difference] = []
    counts: Counter[str] = Counter()
    with _connected() as connection:
        for difference in differing(connection, tables=asked, since=since, progress=_print_progress):
            counts[difference.table] += 1
            if len(named) < limit:
                named.append(difference)
        unknown = unknown_upstreams(connection) if "lineage_edges" in asked else None
        reused, reused_total = [], 0
        if "jobs" in asked:
            keys = reused_ids(connection)
            first = list(islice(keys, limit))
            reused = list(describe_reused_ids(connection, first).values())
            reused_total = len(first) + sum(1 for _ in keys)
    _clear_progress()
    if as_json:
        say_json(
            {
                "tables": list(asked),
                "differences_total": counts.total(),
                "by_table": dict(counts),
                "differences": [json_form.row(difference) for difference in named],
                "edges_from_unknown_jobs": unknown,
                "reused_ids_total": reused_total,
                "reused_ids": [json_form.row(job) for job in reused],
            }
        )
    else:
        say(page(asked, named, counts, unknown, reused, reused_total))
    if counts:
        context.exit(1)


@contextmanager
def _connected() -> Iterator["psycopg.Connection"]:
    """Connect without a limit on one query's time. Raises StoreError with the reason why the database could not compare."""
    from settings.database import DatabaseSettings
    from store.causes import Access, store_errors
    from store.connection import connect
    from store.migrate import check_version

    settings = DatabaseSettings.load()
    with (
        store_errors("finish comparing its tables", settings, Access.READ),
        connect(settings, "jobtrail verify", autocommit=True) as connection,
    ):
        check_version(connection)
        yield connection


def _print_progress(done: "Progress") -> None:
    """Print progress to standard error, on one line that is overwritten, only if that is a terminal."""
    if sys.stderr.isatty():
        of = f" of about {max(done.of, done.number)}" if done.of else ""
        click.echo(f"\r\x1b[K{done.table}: {done.number}{of}", err=True, nl=False)


def _clear_progress() -> None:
    if sys.stderr.isatty():
        click.echo("\r\x1b[K", err=True, nl=False)
