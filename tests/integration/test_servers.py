"""The servers that all other tests stand on: each is real, says hello, and keeps its data through a kill."""

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import psycopg
import pulsar as pulsar_client
import pytest

from servers import ports, postgres, postgres_programs, pulsar_jars
from servers.errors import ServerUnavailableError
from servers.postgres import PostgresServer
from servers.processes import start
from servers.pulsar import ADMIN_URL_VARIABLE, QUICK_START, URL_VARIABLE, Pulsar, any_pulsar, own_pulsar

TOPIC = "persistent://public/default/hello"
RECEIVE_TIMEOUT_MS = 30_000
QUIET = pulsar_client.ConsoleLogger(pulsar_client.LoggerLevel.Error)


def publish(broker: Pulsar, text: bytes) -> None:
    client = pulsar_client.Client(broker.url, logger=QUIET)
    try:
        client.create_producer(TOPIC).send(text)
    finally:
        client.close()


def receive(broker: Pulsar) -> bytes:
    """Receive one message of the subscription, and acknowledge it."""
    client = pulsar_client.Client(broker.url, logger=QUIET)
    try:
        consumer = client.subscribe(TOPIC, "test", initial_position=pulsar_client.InitialPosition.Earliest)
        message = consumer.receive(RECEIVE_TIMEOUT_MS)
        consumer.acknowledge(message)
        data: bytes = message.data()
        return data
    finally:
        client.close()


def test_shared_broker_takes_and_gives_a_message(pulsar: Pulsar) -> None:
    publish(pulsar, b"hello")
    assert receive(pulsar) == b"hello"


def test_broker_keeps_messages_and_address_through_a_kill() -> None:
    with own_pulsar(QUICK_START) as broker:
        address = broker.url, broker.admin_url
        publish(broker, b"before the kill")
        broker.kill()
        broker.start()
        assert (broker.url, broker.admin_url) == address
        assert receive(broker) == b"before the kill"


def test_each_postgres_is_of_its_version(postgres_each: PostgresServer) -> None:
    with psycopg.connect(postgres_each.url()) as connection:
        assert connection.info.server_version // 10_000 == postgres_each.version


def test_postgres_keeps_what_was_committed_through_a_kill(postgres_version: int) -> None:
    with PostgresServer(postgres_version, durable=True) as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE said (word text)")
            connection.execute("INSERT INTO said VALUES ('committed')")
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with psycopg.connect(server.url()) as connection:
            connection.execute("INSERT INTO said VALUES ('not committed')")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT word FROM said").fetchall() == [("committed",)]
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url())


def test_databases_of_tests_are_apart(database_url_each: str, empty_database_url_each: str) -> None:
    """One has this release's tables, the other nothing."""
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'jobtrail'"
    with psycopg.connect(database_url_each) as connection:
        (tables,) = connection.execute(count).fetchone() or (0,)
    assert tables > 0
    with psycopg.connect(empty_database_url_each) as connection:
        assert connection.execute(count).fetchone() == (0,)


def test_one_of_the_two_postgres_orders_text_as_a_language_does(
    postgres_of_version: Callable[[int], PostgresServer],
) -> None:
    """So that a forgotten COLLATE "C" shows in a test."""
    in_order = {}
    for version in (postgres_programs.OLDEST, postgres_programs.NEWEST):
        with psycopg.connect(postgres_of_version(version).url()) as connection:
            in_order[version] = connection.execute("SELECT 'a' < 'B'").fetchone()
    assert in_order == {postgres_programs.OLDEST: (True,), postgres_programs.NEWEST: (False,)}


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["open folder", "closed folder"])
def test_postgres_runs_wherever_its_package_lies(mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root it runs as another user, who may not enter root's own folder, where a virtual environment may lie."""
    package = postgres_programs.programs(postgres_programs.NEWEST).directory.parents[1]
    with tempfile.TemporaryDirectory() as name:
        elsewhere = Path(name) / "site-packages"
        for tree in package.parent.glob(f"{package.name}*"):
            shutil.copytree(tree, elsewhere / tree.name)
        elsewhere.chmod(mode)
        Path(name).chmod(mode)
        found = postgres_programs.Programs(
            postgres_programs.NEWEST, elsewhere / package.name / "pginstall" / "bin"
        )
        monkeypatch.setattr(postgres, "programs", lambda _: found)
        with PostgresServer() as server, psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


def test_server_that_ends_at_start_shows_its_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    server = start("it", ["sh", "-c", "echo no luck; exit 3"], log=log, directory=tmp_path, environment={})
    with pytest.raises(ServerUnavailableError, match=r"it ended with status 3[^$]*no luck"):
        server.wait_until(lambda: False, timeout_seconds=30)


def test_server_that_never_answers_is_killed(tmp_path: Path) -> None:
    server = start("it", ["/bin/sleep", "60"], log=tmp_path / "log", directory=tmp_path, environment={})
    with pytest.raises(ServerUnavailableError, match=r"it did not answer within 0.1 s"):
        server.wait_until(lambda: False, timeout_seconds=0.1)
    assert not server.is_running()


def test_free_ports_differ_and_are_not_those_of_outgoing_connections() -> None:
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    assert all(port < 32_768 for port in found)


def test_missing_postgres_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(postgres_programs.OLDEST_VARIABLE, str(tmp_path))
    with pytest.raises(ServerUnavailableError, match="install Debian's package postgresql-15"):
        postgres_programs.programs(postgres_programs.OLDEST)


def test_missing_java_maven_and_docker_are_all_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(URL_VARIABLE, raising=False)
    monkeypatch.setenv("JOBTRAIL_TEST_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = r"no `java` on PATH.*no `mvn` on PATH.*no `docker` on PATH.*JOBTRAIL_TEST_PULSAR_URL"
    with pytest.raises(ServerUnavailableError, match=missing), any_pulsar():
        pass


def test_broker_named_by_the_environment_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    (port,) = ports.free_ports(1)
    monkeypatch.setenv(URL_VARIABLE, f"pulsar://{ports.HOST}:{port}")
    monkeypatch.setenv(ADMIN_URL_VARIABLE, f"http://{ports.HOST}:{port}")
    with (
        pytest.raises(ServerUnavailableError, match=f"no healthy Pulsar answers at {ADMIN_URL_VARIABLE}"),
        any_pulsar(),
    ):
        pass


def test_incomplete_jars_are_noticed(tmp_path: Path) -> None:
    """A folder whose files are not all there, or cut short, is downloaded again."""
    (tmp_path / "a.jar").write_bytes(b"abc")
    assert not pulsar_jars.is_complete(tmp_path)
    pulsar_jars.write_manifest(tmp_path)
    assert pulsar_jars.is_complete(tmp_path)
    (tmp_path / "a.jar").write_bytes(b"ab")
    assert not pulsar_jars.is_complete(tmp_path)
