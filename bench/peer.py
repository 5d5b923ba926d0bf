"""Runs the peer: Pulsar's own JDBC sink for Postgres, which only upserts each event into one table.

Its work is easier than the aggregator's: one row for each job, the last write wins in any order of events; no
attempts, groups, aggregates or edges. It reads the same events as flat records (``bench/flat_events.py``).

Java compiles while it runs, so the first fifth of the events does not count for its rate: the clock runs from the time
the broker has that many acknowledgements until it has all. The aggregator gets no such head start.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from bench import flat_events
from bench.services import RUN_SECONDS, Consumed, Servers, database
from broker.admin import Admin, admin
from servers import processes
from servers.errors import ServerUnavailableError
from servers.folders import temporary_folder
from servers.peer_jars import connector_archive, connector_version, peer_jars, runner_class_path
from servers.pulsar import LOGGING, OPENED_MODULES
from settings.broker import BrokerSettings
from testing.machine import cpu_seconds
from testing.publish import publish
from testing.workload import Message

TOPIC = "persistent://jobtrail/lifecycle/bench-flat"
PARTITIONS = 8
_PLACE = TOPIC.removeprefix("persistent://")
_LEFT_OUT = 0.2
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Tuning:
    """The settings that a sink is started with."""

    name: str
    settings: Mapping[str, object]


DEFAULTS = Tuning("Pulsar's JDBC sink, its defaults", {})
TUNED = (
    Tuning(
        "Pulsar's JDBC sink, JDBC batches of 5,000",
        {"useJdbcBatch": True, "batchSize": 5_000, "timeoutMs": 500},
    ),
    Tuning(
        "Pulsar's JDBC sink, JDBC batches of 2,000",
        {"useJdbcBatch": True, "batchSize": 2_000, "timeoutMs": 500},
    ),
)
"""The fastest of these counts as its best. Two threads (``parallelism``) are not possible: they upsert rows in the
order of arrival and deadlock. After Postgres had ended one of them, nothing happened for two minutes.
"""


def publish_flat(on: Servers, workload: list[Message]) -> None:
    """Create the topic of flat events, with as many partitions as ours, and publish to it."""
    with admin(BrokerSettings.load(pulsar_admin_url=on.pulsar.admin_url)) as broker:
        broker.put(f"/persistent/{_PLACE}/partitions", PARTITIONS)
    publish(on.pulsar.url, TOPIC, workload, flat_events.SCHEMA_TEXT)


def sink(on: Servers, tuning: Tuning, events: int, name: str) -> Consumed:
    """Run the sink over all events of the flat topic, into a new database; ``name`` names the subscription as well.

    Raises ServerUnavailableError with the end of its log when it ends by itself, AssertionError when it takes longer
    than RUN_SECONDS.
    """
    with ExitStack() as stack:
        url = stack.enter_context(database(on.postgres, name, tables=False))
        with psycopg.connect(url) as connection:
            connection.execute(flat_events.CREATE_TABLE)
        broker = stack.enter_context(admin(BrokerSettings.load(pulsar_admin_url=on.pulsar.admin_url)))
        broker.put(f"/persistent/{_PLACE}/subscription/{name}", {"ledgerId": -1, "entryId": -1})
        before = on.cpu_seconds()
        entries = _backlog(broker, name)
        folder = stack.enter_context(temporary_folder("jobtrail-sink-"))
        server = stack.enter_context(_running(on, tuning, url, name, folder))

        def fall_to(most: float) -> int:
            left = entries
            while left > most:
                if not server.is_running():
                    raise ServerUnavailableError(f"{tuning.name} ended by itself.\n{server.end_of_log()}")
                assert time.monotonic() < deadline, (
                    f"{tuning.name}: {left} of {entries} batches are left\n{server.end_of_log()}"
                )
                time.sleep(_POLL_SECONDS)
                left = _backlog(broker, name)
            return left

        deadline = time.monotonic() + RUN_SECONDS
        at_start = fall_to(entries * (1 - _LEFT_OUT))
        started = time.perf_counter()
        fall_to(0)
        seconds = time.perf_counter() - started
        consumer = cpu_seconds(server.process.pid)
        after = on.cpu_seconds()
        with psycopg.connect(url) as connection:
            stored = connection.execute(f"SELECT count(*) FROM {flat_events.TABLE}").fetchone()
        assert stored, "count gives a row"
        assert stored[0], f"{tuning.name} stored nothing\n{server.end_of_log()}"
    cpu = {"consumer": consumer, **{part: after[part] - before[part] for part in after}}
    return Consumed(round(events * at_start / entries), seconds, cpu)


@contextmanager
def _running(
    on: Servers, tuning: Tuning, database_url: str, subscription: str, folder: Path
) -> Iterator[processes.ServerProcess]:
    java = shutil.which("java")
    if java is None:
        raise ServerUnavailableError("no `java` on PATH: the peer needs it")
    jars = peer_jars()
    opened = [word for module in OPENED_MODULES for word in ("--add-opens", f"{module}=ALL-UNNAMED")]
    server = processes.start(
        f"{tuning.name} ({connector_version()})",
        [
            java,
            "-Xmx1g",
            *opened,
            "-Dio.netty.tryReflectionSetAccessible=true",
            f"-Djava.io.tmpdir={folder}",
            f"-Dlog4j2.configurationFile={LOGGING}",
            *("-cp", runner_class_path(jars)),
            "org.apache.pulsar.functions.LocalRunner",
            *("--brokerServiceUrl", on.pulsar.url),
            *("--webServiceUrl", on.pulsar.admin_url),
            *(
                "--sinkConfig",
                json.dumps(_sink_config(tuning, database_url, subscription, connector_archive(jars, folder))),
            ),
        ],
        log=folder / "sink.log",
        directory=folder,
        environment=os.environ,
    )
    try:
        yield server
    finally:
        server.kill()


def _sink_config(tuning: Tuning, database_url: str, subscription: str, archive: Path) -> dict[str, object]:
    where = urlsplit(database_url)
    columns = [name for name in flat_events.COLUMNS if name not in flat_events.KEY_COLUMNS]
    return {
        "tenant": "jobtrail",
        "namespace": "lifecycle",
        "name": subscription,
        "archive": str(archive),
        "inputs": [TOPIC],
        "sourceSubscriptionName": subscription,
        "sourceSubscriptionPosition": "Earliest",
        "autoAck": True,
        "configs": {
            "jdbcUrl": f"jdbc:postgresql://{where.hostname}:{where.port}{where.path}",
            "userName": where.username,
            "password": where.username,  # the server does not check it, but the connector needs one
            "tableName": flat_events.TABLE,
            "key": ",".join(flat_events.KEY_COLUMNS),
            "nonKey": ",".join(columns),
            "insertMode": "UPSERT",
            **tuning.settings,
        },
    }


def _backlog(broker: Admin, subscription: str) -> int:
    """Return how many of the publisher's batches the subscription has not acknowledged completely."""
    stats = broker.get(f"/persistent/{_PLACE}/partitioned-stats?getPreciseBacklog=true")
    return int(stats["subscriptions"][subscription]["msgBacklog"])
