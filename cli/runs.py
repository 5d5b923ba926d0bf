"""`jobtrail runs …`: list the runs."""

import click

from cli.asking import asking, json_option, limit_option, namespace_option, say, say_json


@click.group()
def runs() -> None:
    """Show runs: root jobs with everything below them."""


@runs.command("list")
@namespace_option
@limit_option(20, "runs")
@json_option
def list_runs(namespace: str | None, limit: int, as_json: bool) -> None:
    """List the runs, those with the most recently changed root first."""
    from cli.render.runs import runs_page
    from store.answers.as_json import row
    from store.answers.runs import get_runs

    with asking(namespace) as ask:
        # One more than the limit shows whether there are more.
        found = get_runs(ask.connection, ask.namespace or None, rule=ask.rule, limit=limit + 1)
    if as_json:
        say_json([row(run) for run in found[:limit]])
    else:
        say(runs_page(found[:limit], more=len(found) > limit))
