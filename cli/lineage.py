"""`jobtrail lineage …`: which jobs spawned which. Imports inside the commands keep --help quick."""

from typing import TYPE_CHECKING

import click

from cli.asking import asking, edges_option, json_option, limit_option, namespace_option, say, say_json
from schemas.contract import STATES
from schemas.errors import InputError

ANCESTORS_SHOWN = 100
"""On the page, without --limit."""

if TYPE_CHECKING:
    from store.answers.walk import Edges


@click.group()
def lineage() -> None:
    """Show which jobs spawned which, and what became of them."""


@lineage.command()
@click.argument("root")
@edges_option
@namespace_option
@click.option(
    "--lines",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    metavar="N",
    help="Draw at most N lines.",
)
@json_option
def tree(root: str, edges: "Edges", namespace: str | None, lines: int, as_json: bool) -> None:
    """Draw the run of ROOT, folded by stage.

    ROOT is a job's id, 12345 or '#12345'. For a job that is not a root, draws what is below it.
    """
    from cli.render.lineage_tree import picture
    from store.answers import as_json as json_form
    from store.answers.lineage import get_job_tree

    with asking(namespace) as ask:
        found = get_job_tree(
            ask.connection,
            ask.namespace_of(root),
            root,
            edges,
            rule=ask.rule,
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.tree(found))
    else:
        say(picture(found, lines))


@lineage.command()
@click.argument("root")
@namespace_option
@json_option
def stats(root: str, namespace: str | None, as_json: bool) -> None:
    """Count the jobs of each stage of the run of ROOT by state.

    Also shows how many were expected, and whether the stage is stuck.
    """
    from cli.render.lineage import stats_page
    from store.answers import as_json as json_form
    from store.answers.lineage import get_pipeline_stats

    with asking(namespace) as ask:
        found = get_pipeline_stats(
            ask.connection,
            ask.namespace_of(root),
            root,
            rule=ask.rule,
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.stats(found))
    else:
        say(stats_page(found))


@lineage.command()
@click.argument("job")
@edges_option
@namespace_option
@limit_option(50, "children")
@json_option
def children(job: str, edges: "Edges", namespace: str | None, limit: int, as_json: bool) -> None:
    """List the jobs one edge below JOB, and count all jobs below it."""
    from cli.render.lineage import children_page
    from store.answers import as_json as json_form
    from store.answers.lineage import get_children

    with asking(namespace) as ask:
        found = get_children(
            ask.connection,
            ask.namespace_of(job),
            job,
            edges,
            rule=ask.rule,
            limit=limit,
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.children(found))
    else:
        say(children_page(found))


@lineage.command(short_help="List the jobs above a job, up to its root.")
@click.argument("job")
@edges_option
@namespace_option
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Show at most N ancestors, the nearest.  [default: 100 on the page, all in JSON]",
)
@json_option
def ancestors(job: str, edges: "Edges", namespace: str | None, limit: int | None, as_json: bool) -> None:
    """List the jobs above JOB: the path from its root, or everything that had to finish first."""
    from cli.render.lineage import ancestors_page
    from store.answers import as_json as json_form
    from store.answers.lineage import get_ancestors

    with asking(namespace) as ask:
        found = get_ancestors(
            ask.connection,
            ask.namespace_of(job),
            job,
            edges,
            rule=ask.rule,
            limit=limit or (None if as_json else ANCESTORS_SHOWN),
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.ancestors(found))
    else:
        say(ancestors_page(found))


@lineage.command(short_help="List the jobs of a run, with parents and errors.")
@click.argument("root")
@namespace_option
@click.option("--worker", metavar="NAME", help="Only jobs of this worker.")
@click.option("--state", type=click.Choice(STATES), help="Only jobs in this state.")
@limit_option(50, "jobs")
@json_option
def jobs(
    root: str, namespace: str | None, worker: str | None, state: str | None, limit: int, as_json: bool
) -> None:
    """List jobs of the run of ROOT, with their parents and why they failed."""
    from cli.render.lineage import jobs_page
    from store.answers import as_json as json_form
    from store.answers.jobs import get_jobs

    with asking(namespace) as ask:
        found = get_jobs(
            ask.connection,
            ask.namespace_of(root),
            root,
            worker=worker,
            state=state,
            rule=ask.rule,
            limit=limit,
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.jobs(found))
    else:
        say(jobs_page(found, worker, state))


@lineage.command(short_help="Show which jobs a run lacks; exit with 1 if any.")
@click.argument("root")
@namespace_option
@limit_option(20, "lines of each kind, and N jobs per line")
@json_option
@click.pass_context
def gaps(context: click.Context, root: str, namespace: str | None, limit: int, as_json: bool) -> None:
    """Show which jobs the run of ROOT lacks; exit with 1 if any, with 2 if the run is too large to know.

    Lists jobs that spawned more or fewer children than they announced, and completed jobs without a child of a worker that
    their siblings spawned.
    """
    from cli.render.gaps import gaps_page
    from store.answers import as_json as json_form
    from store.answers.gaps import get_gaps

    with asking(namespace) as ask:
        found = get_gaps(
            ask.connection,
            ask.namespace_of(root),
            root,
            rule=ask.rule,
            limit=limit,
            limit_jobs=ask.settings.answers_walk_limit_jobs,
        )
    if as_json:
        say_json(json_form.gaps(found))
    else:
        say(gaps_page(found))
    if not found.none:
        context.exit(1)
    if found.cut_at is not None:
        raise InputError(
            f"the run has more than {found.cut_at} jobs that do not say their root: whether it has other gaps is not known. "
            "Raise JOBTRAIL_ANSWERS_WALK_LIMIT_JOBS."
        )
