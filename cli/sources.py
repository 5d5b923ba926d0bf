"""`jobtrail sources`: success rates by source."""

from datetime import datetime

import click

from cli.asking import asking, json_option, namespace_option, say, say_json
from cli.times import PastTime


@click.command()
@namespace_option
@click.option(
    "--since",
    type=PastTime(),
    default="24h",
    show_default=True,
    metavar="TIME",
    help="Since 30m, 24h, 7d, or a time; counted in whole hours.",
)
@json_option
def sources(namespace: str | None, since: datetime, as_json: bool) -> None:
    """Show the success rates of attempts and of jobs by source."""
    from cli.render.sources import sources_page
    from store.answers import as_json as json_form
    from store.answers.sources import get_sources

    with asking(namespace) as ask:
        found = get_sources(ask.connection, since, ask.namespace or None)
    if as_json:
        say_json(json_form.sources(found))
    else:
        say(sources_page(found))
