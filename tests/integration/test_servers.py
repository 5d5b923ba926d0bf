"""The servers that all other tests use: each is real, answers, and keeps its data through a kill."""

import io
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import psutil
import psycopg
import pulsar as pulsar_client
import pytest

from servers import maven, ports, postgres, postgres_archive, postgres_programs
from servers.errors import ServerUnavailableError
from servers.folders import temporary_folder
from servers.postgres import PostgresServer
from servers.processes import start
from servers.pulsar import ADMIN_URL_VARIABLE, QUICK_START, URL_VARIABLE, Pulsar, any_pulsar, own_pulsar
from testing.services import wait_until

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


def test_shared_broker_stores_and_delivers_a_message(pulsar: Pulsar) -> None:
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


def test_each_postgres_has_its_version(postgres_each: PostgresServer) -> None:
    with psycopg.connect(postgres_each.url()) as connection:
        assert connection.info.server_version // 10_000 == postgres_each.version


def test_postgres_keeps_what_was_committed_through_a_kill(postgres_version: int) -> None:
    with PostgresServer(postgres_version, durable=True) as server:
        with psycopg.connect(server.url()) as connection:
            connection.execute("CREATE TABLE words (word text)")
            connection.execute("INSERT INTO words VALUES ('committed')")
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
        with psycopg.connect(server.url()) as connection:
            connection.execute("INSERT INTO words VALUES ('not committed')")
            server.kill()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.start()
        with psycopg.connect(server.url()) as connection:
            assert connection.execute("SELECT word FROM words").fetchall() == [("committed",)]
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(server.url())


def test_databases_of_tests_are_separate(database_url_each: str, empty_database_url_each: str) -> None:
    """One has this release's tables, the other nothing."""
    count = "SELECT count(*) FROM pg_tables WHERE schemaname = 'jobtrail'"
    with psycopg.connect(database_url_each) as connection:
        (tables,) = connection.execute(count).fetchone() or (0,)
    assert tables > 0
    with psycopg.connect(empty_database_url_each) as connection:
        assert connection.execute(count).fetchone() == (0,)


def test_one_postgres_orders_text_by_a_language(
    postgres_of_version: Callable[[int], PostgresServer],
) -> None:
    """So a forgotten COLLATE "C" makes a test fail."""
    in_order = {}
    for version in (postgres_programs.OLDEST, postgres_programs.NEWEST):
        with psycopg.connect(postgres_of_version(version).url()) as connection:
            in_order[version] = connection.execute("SELECT 'a' < 'B'").fetchone()
    assert in_order == {postgres_programs.OLDEST: (True,), postgres_programs.NEWEST: (False,)}


@pytest.mark.parametrize("mode", [0o755, 0o700], ids=["open folder", "closed folder"])
def test_postgres_runs_from_a_folder_that_only_root_may_enter(
    mode: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the tests run as root, Postgres runs as another user, who may not enter root's home, where the package may be."""
    package = postgres_programs.programs(postgres_programs.NEWEST).directory.parents[1]
    with temporary_folder("jobtrail-test-") as folder:
        elsewhere = folder / "site-packages"
        for tree in package.parent.glob(f"{package.name}*"):
            shutil.copytree(tree, elsewhere / tree.name)
        elsewhere.chmod(mode)
        folder.chmod(mode)
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


LEAVES_CHILDREN = """
import os, time
if not os.fork():
    os.setsid() if os.environ["OF_THEIR_OWN"] else None
    print(os.getpid(), flush=True)
    time.sleep(600)
if os.environ["OF_THEIR_OWN"]:
    time.sleep(600)
"""


@pytest.mark.parametrize("of_their_own", ["", "yes"], ids=["it has ended before", "in a session of its own"])
def test_kill_ends_a_servers_child_as_well(of_their_own: str, tmp_path: Path) -> None:
    server = start(
        "it",
        [sys.executable, "-c", LEAVES_CHILDREN],
        log=tmp_path / "log",
        directory=tmp_path,
        environment={"OF_THEIR_OWN": of_their_own},
    )
    wait_until(lambda: server.log.read_text().endswith("\n"), "the child")
    child = psutil.Process(int(server.log.read_text()))
    if not of_their_own:
        server.process.wait()
    server.kill()
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_free_ports_differ_and_are_not_those_of_outgoing_connections() -> None:
    found = ports.free_ports(5)
    assert len(set(found)) == 5
    assert all(port < 32_768 for port in found)


def test_the_error_for_a_wrong_folder_of_postgres_names_the_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(postgres_programs.OLDEST_VARIABLE, str(tmp_path))
    with pytest.raises(ServerUnavailableError, match=f"correct {postgres_programs.OLDEST_VARIABLE}"):
        postgres_programs.programs(postgres_programs.OLDEST)


def without_debians_postgres(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.delenv(postgres_programs.OLDEST_VARIABLE, raising=False)
    monkeypatch.setattr(postgres_programs, "OLDEST_BIN", folder / "none")


def test_the_error_for_a_missing_postgres_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    without_debians_postgres(monkeypatch, tmp_path)
    monkeypatch.setenv("JOBTRAIL_TEST_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = r"no `mvn` on PATH.*install Debian's package postgresql-15"
    with pytest.raises(ServerUnavailableError, match=missing):
        postgres_programs.programs(postgres_programs.OLDEST)


def test_maven_provides_the_oldest_postgres_where_debian_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It has ICU, because only ICU shows a forgotten COLLATE "C"."""
    without_debians_postgres(monkeypatch, tmp_path)
    with (
        PostgresServer(postgres_programs.OLDEST) as server,
        psycopg.connect(server.url()) as connection,
    ):
        assert connection.info.server_version // 10_000 == postgres_programs.OLDEST
        assert connection.execute("SELECT 'a' < 'B'").fetchone() == (True,)


def test_incomplete_postgres_is_noticed(tmp_path: Path) -> None:
    """A jar that lacks a program is refused; a folder with truncated files is downloaded again."""
    programs = {"initdb": b"abc", "postgres": b"def"}
    jar = jar_of(tmp_path / "whole.jar", programs)
    postgres_archive.unpack(jar, tmp_path / "whole")
    assert postgres_archive.is_complete(tmp_path / "whole")
    (tmp_path / "whole" / "server" / "bin" / "initdb").write_bytes(b"ab")
    assert not postgres_archive.is_complete(tmp_path / "whole")
    with pytest.raises(ServerUnavailableError, match=r"expected postgres in partial\.jar"):
        postgres_archive.unpack(jar_of(tmp_path / "partial.jar", {"initdb": b"abc"}), tmp_path / "partial")
    assert not postgres_archive.is_complete(tmp_path / "partial")


def jar_of(jar: Path, programs: dict[str, bytes]) -> Path:
    """Write a jar like Maven Central's, with one archive of the programs."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, content in programs.items():
            entry = tarfile.TarInfo(f"./bin/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    with zipfile.ZipFile(jar, "w") as outer:
        outer.writestr("postgres-linux-x86_64.txz", packed.getvalue())
    return jar


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
    """A folder with missing or truncated files is downloaded again."""
    (tmp_path / "a.jar").write_bytes(b"abc")
    assert not maven.is_complete(tmp_path)
    maven.write_manifest(tmp_path)
    assert maven.is_complete(tmp_path)
    (tmp_path / "a.jar").write_bytes(b"ab")
    assert not maven.is_complete(tmp_path)
