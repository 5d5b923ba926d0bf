"""Starts the servers, topics and databases of a measurement, and runs our consumers over a whole topic.

Broker, Postgres (with fsync, synchronous_commit and full_page_writes on) and consumers share the machine, as in a
small deployment.
"""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass

import psycopg

from broker import provision
from servers.folders import temporary_folder
from servers.postgres import PostgresServer
from servers.pulsar import OwnPulsar, PulsarServer, own_pulsar
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.migrate import migrate
from testing.machine import cpu_seconds
from testing.services import Service, wait_until

TOPIC = "persistent://jobtrail/lifecycle/bench"
POSTGRES = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "15min",
}
RUN_SECONDS = 1_800
"""A run that takes longer fails."""

_POLL_SECONDS = 0.2  # each scrape costs the service some milliseconds
_EVENTS_TOTAL = {
    "aggregate": "jobtrail_aggregator_events_total",
    "metrics": "jobtrail_metrics_messages_total",
}


@dataclass(frozen=True)
class Servers:
    """The broker and the database server of a measurement."""

    pulsar: OwnPulsar
    postgres: PostgresServer

    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds of the servers so far; 0 for a broker in a container, which is not measured."""
        broker = cpu_seconds(self.pulsar.pid) if isinstance(self.pulsar, PulsarServer) else 0.0
        return {"postgres": cpu_seconds(self.postgres.pid), "pulsar": broker}


@dataclass(frozen=True)
class Consumed:
    """The result of one or more processes that consumed all events of a topic."""

    events: int
    """Events that were consumed in ``seconds``."""
    seconds: float
    cpu_seconds: dict[str, float]
    """Over the run, by process: consumer (all together), postgres, pulsar."""

    @property
    def events_per_second(self) -> float:
        return self.events / self.seconds


@contextmanager
def servers(postgres_settings: Mapping[str, str] = POSTGRES) -> Iterator[Servers]:
    """Yield both servers, running; remove them and their data afterwards. Raises ServerUnavailableError."""
    with own_pulsar() as pulsar, PostgresServer(durable=True, settings=postgres_settings) as postgres:
        yield Servers(pulsar, postgres)


def provision_topic(pulsar: OwnPulsar, topic: str = TOPIC, *subscriptions: str) -> None:
    """Create the topic as `jobtrail provision` does, with 8 partitions, its own subscriptions and these."""
    provision.run(
        ProvisionSettings.load(
            pulsar_url=pulsar.url,
            pulsar_admin_url=pulsar.admin_url,
            topic=topic,
            provision_subscriptions=("aggregator", "metrics", *subscriptions),
        ),
        check=False,
    )


@contextmanager
def database(postgres: PostgresServer, name: str, *, tables: bool = True) -> Iterator[str]:
    """Yield the URL of a new database, with or without this release's tables; drop it afterwards."""
    with psycopg.connect(postgres.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")  # names of ours
        try:
            if tables:
                with connect(DatabaseSettings.load(database_url=postgres.url(name)), "bench") as connection:
                    migrate(connection)
            yield postgres.url(name)
        finally:
            server.execute(f"DROP DATABASE {name} WITH (FORCE)")


def environment(pulsar: OwnPulsar, database_url: str, topic: str = TOPIC) -> dict[str, str]:
    """Return the settings of a consumer as environment variables."""
    return {
        "JOBTRAIL_PULSAR_URL": pulsar.url,
        "JOBTRAIL_PULSAR_ADMIN_URL": pulsar.admin_url,
        "JOBTRAIL_TOPIC": topic,
        "JOBTRAIL_DATABASE_URL": database_url,
    }


def counted(running: Service, command: str = "aggregate") -> float:
    """Return how many events a service has committed (the aggregator) or counted (the metrics consumer)."""
    _, text = running.get("/metrics")
    return sum(
        float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(_EVENTS_TOTAL[command])
    )


def consume(
    on: Servers,
    database_url: str,
    events: int,
    *,
    subscription: str,
    command: str = "aggregate",
    replicas: int = 1,
    topic: str = TOPIC,
    settings: Mapping[str, str] | None = None,
    meanwhile: AbstractContextManager[None] | None = None,
) -> Consumed:
    """Run ``replicas`` services on one subscription until they have consumed this many events; then stop them.

    The clock starts when all are subscribed; events consumed by the first ones before that do not count. ``meanwhile``
    is entered while the clock runs. Raises AssertionError, with the end of a log, when it takes longer than
    RUN_SECONDS.
    """
    name = {"aggregate": "JOBTRAIL_AGGREGATOR_SUBSCRIPTION", "metrics": "JOBTRAIL_METRICS_SUBSCRIPTION"}
    said = {
        **environment(on.pulsar, database_url, topic),
        name[command]: subscription,
        **(settings or {}),
    }
    with ExitStack() as stack:
        folder = stack.enter_context(temporary_folder("jobtrail-bench-"))
        before = on.cpu_seconds()
        running = []
        for number in range(replicas):
            service = Service(command, said, folder / f"log-{number}")
            stack.callback(_kill, service)
            running.append(service)
        for service in running:
            service.wait_ready()
        started = time.perf_counter()
        already = sum(counted(service, command) for service in running)
        with meanwhile or nullcontext():
            wait_until(
                lambda: sum(counted(service, command) for service in running) >= events,
                "every event",
                running[0].end_of_log,
                RUN_SECONDS,
                _POLL_SECONDS,
            )
        seconds = time.perf_counter() - started
        consumer = sum(cpu_seconds(service.process.pid) for service in running)
        after = on.cpu_seconds()
        for service in running:
            service.stop()
    return Consumed(
        events - round(already),
        seconds,
        {"consumer": consumer, **{part: after[part] - before[part] for part in after}},
    )


def merged_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with these settings on top, for a subprocess."""
    return {**os.environ, **settings}


def _kill(running: Service) -> None:
    if running.process.poll() is None:
        running.kill()
