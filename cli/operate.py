"""Commands that run or prepare the services: provision, migrate, aggregate, metrics."""

import click

from cli.asking import say


@click.command()
@click.option(
    "--check", is_flag=True, help="Change nothing; say what differs, and end with 1 if anything does."
)
@click.pass_context
def provision(context: click.Context, check: bool) -> None:
    """Set up the broker: tenant, Pulsar namespace, policies, topic, schema, subscriptions."""
    from broker.provision import run
    from cli.render.safe_text import safe
    from settings.provision import ProvisionSettings

    differences = run(ProvisionSettings.load(), check)
    for difference in differences:
        said = safe(difference, 500)
        say(f"differs: {said}" if check else f"set right: {said}")
    if not differences:
        say("the broker is as it should be.")
    if check and differences:
        context.exit(1)


@click.command()
def migrate() -> None:
    """Bring the database to this release's tables."""
    from settings.database import DatabaseSettings
    from store import migrate as migrations
    from store.causes import Access, store_errors
    from store.connection import connect

    settings = DatabaseSettings.load()
    with (
        store_errors("migrate; nothing of that migration was kept", settings, Access.CHANGE),
        connect(settings, "jobtrail migrate") as connection,
    ):
        applied = migrations.migrate(connection)
    for name in applied:
        say(f"applied {name}")
    if not applied:
        say("the database is up to date.")


@click.command()
@click.pass_context
def aggregate(context: click.Context) -> None:
    """Run the aggregator: events to failure groups, outcomes and lineage, until SIGTERM."""
    from consumers.aggregator.service import run
    from settings.aggregator import AggregatorSettings

    context.exit(run(AggregatorSettings.load()))


@click.command()
@click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Where /metrics is served; 0 = any."
)
@click.pass_context
def metrics(context: click.Context, port: int | None) -> None:
    """Run the metrics consumer: success rates for Prometheus, until SIGTERM."""
    from consumers.metrics.service import run
    from settings.metrics import MetricsSettings

    context.exit(run(MetricsSettings.load(metrics_port=port)))
