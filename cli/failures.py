"""`jobtrail failures …`: what failed, how, and how often."""

from datetime import datetime

import click

from cli.asking import asking, json_option, limit_option, namespace_option, say, say_json
from cli.times import PastTime


@click.group()
def failures() -> None:
    """Show what failed, grouped by cause."""


@failures.command("list")
@namespace_option
@click.option("--source", metavar="NAME", help="Only failures of this source.")
@click.option("--category", metavar="NAME", help="Only failures of this error category.")
@click.option(
    "--since", type=PastTime(), metavar="TIME", help="Only groups seen since: 30m, 24h, 7d, or a time."
)
@limit_option(50, "groups")
@json_option
def list_groups(
    namespace: str | None,
    source: str | None,
    category: str | None,
    since: datetime | None,
    limit: int,
    as_json: bool,
) -> None:
    """List the failure groups, most recently seen first."""
    from cli.render.failures import failures_page
    from store.answers.as_json import row
    from store.answers.failures import get_failure_groups

    with asking(namespace) as ask:
        found = get_failure_groups(
            ask.connection,
            namespace=ask.namespace or None,
            source=source,
            category=category,
            since=since,
            limit=limit + 1,  # one more than the limit shows whether there are more
        )
    if as_json:
        say_json([row(group) for group in found[:limit]])
    else:
        say(failures_page(found[:limit], more=len(found) > limit, namespace=ask.namespace))


@failures.command(short_help="Show one failure group, with its newest failures.")
@click.argument("group")
@limit_option(10, "failures")
@json_option
def show(group: str, limit: int, as_json: bool) -> None:
    """Show one failure GROUP by its id (or its first digits): its newest failures and their stack trace."""
    from cli.render.failures import failure_page
    from store.answers import as_json as json_form
    from store.answers.failures import get_failure_group

    with asking() as ask:
        found = get_failure_group(ask.connection, group, limit=limit)
    if as_json:
        say_json(json_form.failure_group(found))
    else:
        say(failure_page(found))
