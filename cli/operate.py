"""The commands that prepare and run the services: provision, migrate, aggregate, metrics."""

from typing import TYPE_CHECKING

import click

from cli.asking import say
from cli.waiting import patiently, shortened, wait_option

if TYPE_CHECKING:
    from broker.provision import Difference

_THERE = ("there", "registered", "on every partition")
"""Expected values of things that either exist on the broker or do not."""


@click.command(short_help="Set up the broker: policies, topic, schema, subscriptions.")
@click.option(
    "--check", is_flag=True, help="Change nothing; print what differs, and exit with 1 if anything does."
)
@wait_option("broker")
@click.pass_context
def provision(context: click.Context, check: bool, wait_seconds: float | None) -> None:
    """Set up the broker: tenant, Pulsar namespace, policies, topic, schema, subscriptions."""
    from broker.provision import run
    from cli.render.safe_text import safe
    from settings.provision import ProvisionSettings

    settings = ProvisionSettings.load()
    changed: list[Difference] = []

    def attempt(left_seconds: float) -> "list[Difference]":
        timeout = shortened(settings.pulsar_operation_timeout_seconds, left_seconds)
        return run(settings.model_copy(update={"pulsar_operation_timeout_seconds": timeout}), check, changed)

    differences = patiently(attempt, wait_seconds)
    for difference in differences:
        say(safe(_difference(difference) if check else _change(difference), 500))
    if not differences:
        say("the broker is set up as it should be.")
    if check and differences:
        context.exit(1)


@click.command()
@wait_option("database")
def migrate(wait_seconds: float | None) -> None:
    """Create or upgrade the tables in the database."""
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


_port_option = click.option(
    "--port", type=click.IntRange(0, 65_535), metavar="PORT", help="Port for /metrics; 0 chooses a free one."
)


@click.command(short_help="Run the aggregator: events into Postgres.")
@_port_option
@click.pass_context
def aggregate(context: click.Context, port: int | None) -> None:
    """Run the aggregator until SIGTERM: write events to Postgres as failure groups, outcomes and lineage."""
    from consumers.aggregator.service import run
    from settings.aggregator import AggregatorSettings

    context.exit(run(AggregatorSettings.load(aggregator_port=port)))


@click.command(short_help="Run the metrics consumer: success rates for Prometheus.")
@_port_option
@click.pass_context
def metrics(context: click.Context, port: int | None) -> None:
    """Run the metrics consumer until SIGTERM: serve success rates to Prometheus."""
    from consumers.metrics.service import run
    from settings.metrics import MetricsSettings

    context.exit(run(MetricsSettings.load(metrics_port=port)))


def _difference(found: "Difference") -> str:
    """Return a difference in words: "missing: tenant jobtrail", "messageTTL: 3600, expected 0"."""
    if found.expected in _THERE and found.got == "nothing":
        return f"missing: {found.what}"
    return f"{found.what}: {_value(found.got)}, expected {found.expected}"


def _change(found: "Difference") -> str:
    """Return a change in words: "created tenant jobtrail", "set messageTTL to 0, was 3600"."""
    if found.expected in _THERE:
        return f"created {found.what}"
    return f"set {found.what} to {found.expected}, was {_value(found.got)}"


def _value(got: str) -> str:
    return "not set" if got == "nothing" else got
