"""Outages of Postgres and the broker, of every kind: the process waits without growing, loses nothing, and is back in seconds.

JOBTRAIL_OUTAGE_SECONDS=600 is the long form: the first outage of each server lasts this long, the others half a minute.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from broker import provision
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from servers.postgres import PostgresServer
from servers.pulsar import QUICK_START, Pulsar, own_pulsar
from settings.database import DatabaseSettings
from settings.provision import ProvisionSettings
from store.connection import connect
from store.migrate import migrate
from testing.publish import publish
from testing.services import Service, service, wait_until
from testing.topics import own_topic, service_settings
from testing.workload import Message, messages
from tests.faults.network import Path as NetworkPath
from tests.faults.network import pulsar_path
from tests.faults.resources import Resources, resources_of
from tests.law.oracle import oracle
from tests.law.tables import difference, read_tables

OUTAGE_SECONDS = float(os.environ.get("JOBTRAIL_OUTAGE_SECONDS", "2"))
SHORT_SECONDS = min(OUTAGE_SECONDS, 30.0)
BACK_WITHIN_SECONDS = 20.0
"""The limit on a shared machine; the report has the measured seconds."""
GROWTH_MEGABYTES = 60.0
"""A full receiver queue may add this much. A leak in ten minutes of retries adds more, or threads, files or connections."""
LATE_THREADS = 3
"""Threads that start when first needed: the watchdog's, the second writer's, and one that still serves a page."""
RETRY_LONGEST_SECONDS = 2.0
PASSWORD, OTHER_PASSWORD = "first", "second"


class Postgres:
    """A server of its own, behind a path that can be disturbed, with a role that needs a password."""

    def __init__(self, server: PostgresServer, path: NetworkPath) -> None:
        self.server = server
        self.path = path
        self.admin_url = server.url("jobtrail")
        self._execute("CREATE ROLE jobtrail LOGIN PASSWORD 'first'", server.url())
        self._execute("CREATE DATABASE jobtrail OWNER jobtrail", server.url())
        rules = Path(str(self._execute("SHOW hba_file", server.url())))
        rules.write_text(f"host jobtrail jobtrail 127.0.0.1/32 scram-sha-256\n{rules.read_text()}")
        self._execute("SELECT pg_reload_conf()", server.url())
        self.url = f"postgresql://jobtrail:{PASSWORD}@127.0.0.1:{path.port}/jobtrail"
        with connect(DatabaseSettings.load(database_url=self.url), "jobtrail tests") as connection:
            migrate(connection)

    def change(self, *statements: str) -> None:
        """Execute the statements as superuser, then end every session of the role."""
        for statement in (
            *statements,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'jobtrail'",
        ):
            self._execute(statement, self.admin_url)

    def _execute(self, statement: str, url: str) -> object:
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement)
            row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def killed(postgres: Postgres) -> Callable[[], None]:
    postgres.server.kill()
    return postgres.server.start


def refused(postgres: Postgres) -> Callable[[], None]:
    postgres.path.refuse()
    return postgres.path.let_pass


def swallowed(postgres: Postgres) -> Callable[[], None]:
    postgres.path.stall()
    return postgres.path.let_pass


def frozen(postgres: Postgres) -> Callable[[], None]:
    """Stop the postmaster: sessions go on, but new ones get no answer. Ours are cut, so that new ones are needed."""
    postgres.change()
    os.kill(postgres.server.pid, signal.SIGSTOP)
    return lambda: os.kill(postgres.server.pid, signal.SIGCONT)


def read_only(postgres: Postgres) -> Callable[[], None]:
    """Make it read-only, as in recovery or after a failover (25006)."""
    postgres.change("ALTER ROLE jobtrail SET default_transaction_read_only = on")
    return lambda: postgres.change("ALTER ROLE jobtrail RESET default_transaction_read_only")


def full_of_sessions(postgres: Postgres) -> Callable[[], None]:
    """Allow the role no sessions (53300)."""
    postgres.change("ALTER ROLE jobtrail CONNECTION LIMIT 0")
    return lambda: postgres.change("ALTER ROLE jobtrail CONNECTION LIMIT -1")


def another_password(postgres: Postgres) -> Callable[[], None]:
    """Change the password (28P01). Either side may be corrected, so the consumer must wait."""
    postgres.change(f"ALTER ROLE jobtrail PASSWORD '{OTHER_PASSWORD}'")
    return lambda: postgres.change(f"ALTER ROLE jobtrail PASSWORD '{PASSWORD}'")


DATABASE_OUTAGES = (killed, refused, swallowed, frozen, read_only, full_of_sessions, another_password)


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with PostgresServer(durable=True) as server, NetworkPath(urlsplit(server.url()).port or 0) as path:
        yield Postgres(server, path)


def environment(topic: ProvisionSettings, pulsar_url: str, database_url: str) -> dict[str, str]:
    return {
        **service_settings(topic, database_url),
        "JOBTRAIL_PULSAR_URL": pulsar_url,
        "JOBTRAIL_DATABASE_CONNECT_TIMEOUT_SECONDS": "3",
        "JOBTRAIL_AGGREGATOR_RETRY_LONGEST_SECONDS": str(RETRY_LONGEST_SECONDS),
        "JOBTRAIL_METRICS_RETRY_LONGEST_SECONDS": str(RETRY_LONGEST_SECONDS),
        # Shorter than the outages, because no outage is a reason to end.
        "JOBTRAIL_WATCHDOG_SECONDS": "2",
    }


def slices(jobs: int, count: int) -> list[list[Message]]:
    """Return the workload of this many recent jobs, in ``count`` parts."""
    workload = messages(jobs, start_us=time.time_ns() // 1000 - 6 * 3600 * 1_000_000)
    return [workload[place::count] for place in range(count)]


def expected_tables(published: list[Message]) -> Any:
    decode = decoder(SCHEMA_TEXT)
    return oracle(decode(message.payload)._asdict() for message in published)


def ends(url: str) -> int:
    """Return the number of counted finished attempts."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT coalesce(sum(completed + retryable + discarded + cancelled), 0)::bigint FROM jobtrail.outcomes_hourly"
        ).fetchone()
    assert row is not None
    number: int = row[0]
    return number


def counted(running: Service) -> float:
    """Return how many messages a metrics consumer has counted, or an aggregator has committed."""
    names = ("jobtrail_metrics_messages_total", "jobtrail_aggregator_events_total")
    page = running.get("/metrics")[1].splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in page if line.startswith(names))


def wait_for_count(running: Service, count: int) -> None:
    """Wait until it has processed this many messages."""
    wait_until(lambda: counted(running) >= count, f"{count} events", running.end_of_log)


def wait_not_ready(running: Service, part: str) -> str:
    """Wait until /readyz reports this part as missing; return its text."""
    wait_until(
        lambda: running.get("/readyz")[0] == 503 and part in running.get("/readyz")[1],
        f"/readyz to miss the {part}",
        running.end_of_log,
    )
    message = running.get("/readyz")[1].strip()
    assert running.get("/healthz")[0] == 200, "it is not alive"
    return " ".join(message.split())


def ready_after(running: Service) -> float:
    """Return the seconds until /readyz is ready, with the process alive."""
    began = time.monotonic()
    running.wait_ready()
    return time.monotonic() - began


def resources_during(running: list[Service], seconds: float) -> list[tuple[Resources, Resources]]:
    """Return the resources of each process shortly after the outage began, and at its end."""
    settling = min(1.0, seconds / 2)
    time.sleep(settling)
    first = [resources_of(one.process.pid) for one in running]
    time.sleep(seconds - settling)
    for one in running:
        assert one.process.poll() is None, one.end_of_log()
        assert one.get("/healthz")[0] == 200, one.get("/healthz")
    return [(before, resources_of(one.process.pid)) for before, one in zip(first, running, strict=True)]


def assert_no_growth(first: Resources, last: Resources) -> None:
    assert last.megabytes - first.megabytes < GROWTH_MEGABYTES, f"{first} became {last}"
    assert last.threads <= first.threads + LATE_THREADS, f"{first} became {last}"
    assert last.files <= first.files + 4, f"{first} became {last}"
    assert last.connections <= first.connections + 2, f"{first} became {last}"


def test_the_aggregator_survives_outages_of_the_database(
    pulsar: Pulsar, postgres: Postgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Seven kinds of outage follow each other while events come: it reports why it is not ready, and is soon ready again."""
    topic = own_topic(pulsar)
    provision.run(topic, check=False)
    parts = slices(6_000, 2 * len(DATABASE_OUTAGES))
    published: list[Message] = []
    report = []

    def send() -> None:
        published.extend(part := parts.pop())
        publish(pulsar.url, topic.topic, part)

    with service("aggregate", environment(topic, pulsar.url, postgres.url), tmp_path / "log") as running:
        send()
        wait_until(lambda: ends(postgres.admin_url) > 0, "the first batch", running.end_of_log)
        before = resources_of(running.process.pid)
        for number, way in enumerate(DATABASE_OUTAGES):
            heal = way(postgres)
            if parts:
                send()
            message = wait_not_ready(running, "database")
            seconds = OUTAGE_SECONDS if number == 0 else SHORT_SECONDS
            [(first, last)] = resources_during([running], seconds)
            heal()
            back = ready_after(running)
            if parts:
                send()
            wait_for_count(running, len(published))
            report.append(
                f"{way.__name__:<18} {seconds:>4.0f} s, ready {back:>4.1f} s after; {last}; {message[:90]}"
            )
            assert back < BACK_WITHIN_SECONDS, report[-1]
            assert_no_growth(first, last)
        after = resources_of(running.process.pid)
        assert_no_growth(before, after)
        assert running.stop() == 0, running.end_of_log()
    with psycopg.connect(postgres.admin_url) as connection:
        found = read_tables(connection)
    with capsys.disabled():
        print("", f"before: {before}", *report, f"after: {after}", sep="\n    ")
    assert difference(expected_tables(published), found) == []


def test_both_consumers_survive_outages_of_the_broker(
    database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is killed, and its port is closed for so long that Pulsar's client would pause: the same processes go on."""
    parts = slices(2_000, 3)
    published: list[Message] = []
    report = []
    with own_pulsar(QUICK_START) as broker, pulsar_path(broker.url) as path, ExitStack() as stack:
        topic = own_topic(broker)
        provision.run(topic, check=False)

        def send() -> None:
            published.extend(part := parts.pop())
            publish(broker.url, topic.topic, part)

        settings = environment(topic, f"pulsar://127.0.0.1:{path.port}", database_url)
        both = [
            stack.enter_context(service(command, settings, tmp_path / command))
            for command in ("aggregate", "metrics")
        ]
        send()
        for running in both:
            wait_for_count(running, len(published))
        before = [resources_of(running.process.pid) for running in both]

        def closed() -> Callable[[], None]:
            path.refuse()
            return path.let_pass

        def killed() -> Callable[[], None]:
            broker.kill()
            return broker.start

        for number, way in enumerate((closed, killed)):
            heal = way()
            message = [wait_not_ready(running, "broker") for running in both]
            # After 7 s, Pulsar's client pauses for 6 s: the consumers must not wait for that.
            seconds = max(7.0, OUTAGE_SECONDS) if number == 0 else SHORT_SECONDS
            pairs = resources_during(both, seconds)
            heal()
            began = time.monotonic()
            for running in both:
                ready_after(running)
            back = time.monotonic() - began
            send()
            for running in both:
                wait_for_count(running, len(published))
            report.append(f"{way.__name__:<7} {seconds:>4.0f} s, ready {back:>4.1f} s after; {message[0]}")
            assert back < BACK_WITHIN_SECONDS, report[-1]
            for first, last in pairs:
                assert_no_growth(first, last)
        after = [resources_of(running.process.pid) for running in both]
        for running in both:
            assert running.stop() == 0, running.end_of_log()
    with psycopg.connect(database_url) as connection:
        found = read_tables(connection)
    with capsys.disabled():
        print("", *map(str, before), *report, *map(str, after), sep="\n    ")
    assert difference(expected_tables(published), found) == []
    for first, last in zip(before, after, strict=True):
        assert_no_growth(first, last)
