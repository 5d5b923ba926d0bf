"""Commands that run or prepare the services: provision, migrate, aggregate, metrics."""

import click

from cli.asking import say
from cli.waiting import patiently, shortened, wait_option


@click.command()
@click.option(
    "--check", is_flag=True, help="Change nothing; say what differs, and end with 1 if anything does."
)
@wait_option("broker")
@click.pass_context
def provision(context: click.Context, check: bool, wait_seconds: float | None) -> None:
    """Set up the broker: tenant, Pulsar namespace, policies, topic, schema, subscriptions."""
    from broker.provision import Difference, run
    from cli.render.safe_text import safe
    from settings.provision import ProvisionSettings

    settings = ProvisionSettings.load()
    changed: list[Difference] = []

    def attempt(left_seconds: float) -> list[Difference]:
        timeout = shortened(settings.pulsar_operation_timeout_seconds, left_seconds)
        return run(settings.model_copy(update={"pulsar_operation_timeout_seconds": timeout}), check, changed)

    differences = patiently(attempt, wait_seconds)
    for difference in differences:
        said = safe(difference, 500)
        say(f"differs: {said}" if check else f"set right: {said}")
    if not differences:
        say("the broker is as it should be.")
    if check and differences:
        context.exit(1)


@click.command()
@wait_option("database")
def migrate(wait_seconds: float | None) -> None:
    """Bring the database to this release's tables."""
    from settings.database import DatabaseSettings
    from store import migrate as migrations
    from store.causes import Access, store_errors
    from store.connection import connect

    settings = DatabaseSettings.load()

    def attempt(left_seconds: float) -> list[str]:
        timeout = shortened(settings.database_connect_timeout_seconds, left_seconds)
        hasty = settings.model_copy(update={"database_connect_timeout_seconds": timeout})
        with (
            store_errors("migrate; nothing of that migration was kept", settings, Access.CHANGE),
            connect(hasty, "jobtrail migrate") as connection,
        ):
            return migrations.migrate(connection)

    applied = patiently(attempt, wait_seconds)
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
