"""Errors of the database name the cause, and the command that cures it. Each cure is tested.

The server of these tests asks for passwords, as an operator's does. The tests' Postgres 18 is built without TLS, so the
tests of certificates run on 15 only; the client is the same.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from schemas.errors import DatabaseAwayError, StoreError
from servers.ports import HOST, free_ports
from servers.postgres import PostgresServer
from servers.postgres_programs import OLDEST
from settings.database import DatabaseSettings
from store.connection import connect
from store.migrate import released
from testing.services import JOBTRAIL, wait_until
from tests.integration.answering import answering

PASSWORD = "s3cret-pass"
ROLE, DATABASE = "job-trail", "job-data"
"""These names must be quoted in SQL."""

RULES = """
local all all trust
host all postgres 127.0.0.1/32 trust
host closed all 127.0.0.1/32 reject
host all trusted,sleeper,nobody 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
"""


@dataclass
class Server:
    """A server of these tests, with an operator's actions."""

    running: PostgresServer
    port: int
    data: Path
    url: str
    """Return the superuser's URL, which needs no password."""
    made: list[str] = field(default_factory=list)

    def execute(self, *statements: str, database: str = "postgres") -> None:
        """Execute each statement on its own, as an administrator does with psql."""
        with psycopg.connect(self.url, dbname=database, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def write_rules(self, rules: str) -> None:
        """Write pg_hba.conf, and wait until it applies to new sessions."""
        (self.data / "pg_hba.conf").write_text(rules)
        self.reload()

    def reload(self) -> None:
        with psycopg.connect(self.url, autocommit=True) as connection:
            before = self.loaded()
            connection.execute("SELECT pg_reload_conf()")
        wait_until(lambda: self.loaded() > before, "the server to load its settings")

    def loaded(self) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute("SELECT pg_conf_load_time()").fetchone()
        assert row is not None
        return row[0]

    def address(
        self, role: str = ROLE, password: str = PASSWORD, database: str = DATABASE, options: str = ""
    ) -> str:
        secret = f":{password}" if password else ""
        return f"postgresql://{role}{secret}@{HOST}:{self.port}/{database}{options}"


@contextmanager
def serving(version: int, **settings: str) -> Iterator[Server]:
    with PostgresServer(version, settings=settings) as running:
        with psycopg.connect(running.url(), autocommit=True) as connection:
            row = connection.execute("SHOW data_directory").fetchone()
            assert row is not None
            server = Server(running, connection.info.port, Path(row[0]), running.url())
        server.write_rules(RULES)
        yield server


@pytest.fixture(scope="module")
def server(postgres_version: int) -> Iterator[Server]:
    with serving(postgres_version) as server:
        server.execute("CREATE ROLE sleeper", "CREATE ROLE trusted LOGIN", "CREATE DATABASE closed")
        yield server


@pytest.fixture(scope="module")
def tls_server() -> Iterator[Server]:
    """Yield a server with a self-signed certificate for the name `localhost` only."""
    with serving(OLDEST) as server:
        server.execute(
            f"CREATE ROLE {quoted(ROLE)} LOGIN PASSWORD '{PASSWORD}'",
            f"CREATE DATABASE {quoted(DATABASE)} OWNER {quoted(ROLE)}",
        )
        give_certificate(server, "localhost")
        server.execute("ALTER SYSTEM SET ssl = on")
        server.reload()
        yield server


@pytest.fixture
def role(server: Server) -> Iterator[None]:
    server.execute(f"CREATE ROLE {quoted(ROLE)} LOGIN PASSWORD '{PASSWORD}'")
    yield
    server.execute(f"DROP OWNED BY {quoted(ROLE)}", f"DROP ROLE {quoted(ROLE)}")


@pytest.fixture
def database(server: Server, role: None) -> Iterator[None]:
    """Create the database, which the role owns."""
    server.execute(f"CREATE DATABASE {quoted(DATABASE)} OWNER {quoted(ROLE)} TEMPLATE template0")
    yield
    server.execute(f"DROP DATABASE {quoted(DATABASE)} WITH (FORCE)")


def give_certificate(server: Server, host: str, days: int = 2) -> None:
    """Give the server a self-signed certificate."""
    where = server.data / "server"
    request = ["-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}", "-out", f"{where}.csr"]
    signed = [
        "-in",
        f"{where}.csr",
        "-signkey",
        f"{where}.key",
        "-copy_extensions",
        "copy",
        "-out",
        f"{where}.crt",
    ]
    for command in (
        ["req", "-new", "-nodes", "-newkey", "rsa:2048", "-keyout", f"{where}.key", *request],
        ["x509", "-req", "-days", str(days), *signed],
    ):
        subprocess.run(["openssl", *command], check=True, capture_output=True)
    for path in (Path(f"{where}.key"), Path(f"{where}.crt")):
        shutil.chown(path, server.data.owner(), server.data.group())
        path.chmod(0o600)


def quoted(name: str) -> str:
    return sql.Identifier(name).as_string()


def jobtrail(url: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("JOBTRAIL_", "PG"))
    }
    return subprocess.run(
        [JOBTRAIL, *arguments],
        env={**inherited, "HOME": "/nonexistent", "JOBTRAIL_DATABASE_URL": url, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def refusal(url: str, *arguments: str, **variables: str) -> str:
    """Return the command's message about a database that it cannot use: one line, without a secret."""
    ended = jobtrail(url, *(arguments or ("migrate",)), **variables)
    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert PASSWORD not in line
    assert "defect" not in line
    return line


def commands(message: str) -> list[str]:
    """Return the SQL statements of a message, with the password filled in."""
    found = re.findall(r"(?:ALTER|CREATE|GRANT|SELECT) [^;`]*;", message)
    return [statement.replace("…", PASSWORD) for statement in found]


def test_a_wrong_password_is_reported_with_a_command_that_cures_it(
    server: Server, role: None, database: None
) -> None:
    message = refusal(server.address(password="wrong"))
    assert (
        f"the server refused the password of the role {quoted(ROLE)} (28P01). Correct it in JOBTRAIL_DATABASE_URL"
        in message
    )
    assert "Check that Postgres runs" not in message
    message = refusal(server.address(password=""), PGPASSWORD="wrong")
    assert "(28P01). Correct it in PGPASSWORD" in message
    alter, create = commands(message)
    assert create.startswith("CREATE ROLE")
    server.execute(alter.replace(PASSWORD, "another"))
    assert jobtrail(server.address(password="another"), "migrate").returncode == 0


def test_a_missing_password_is_asked_for(server: Server, role: None) -> None:
    message = refusal(server.address(password=""))
    assert (
        f"the server asks for the password of the role {quoted(ROLE)}, and none was given. Give it by PGPASSWORD"
        in message
    )


def test_a_missing_role_is_reported_with_the_command_that_creates_it(server: Server) -> None:
    """A server that asks for passwords answers the same as to a wrong password, so both causes are named."""
    try:
        for url in (server.address(), server.address("nobody", "", "postgres")):
            message = refusal(url)
            create = next(statement for statement in commands(message) if statement.startswith("CREATE ROLE"))
            server.execute(create)
        assert "(3D000)" in refusal(server.address())
        assert "there is no role" not in refusal(server.address("nobody", "", "none"))
    finally:
        server.execute(f"DROP ROLE {quoted(ROLE)}", "DROP ROLE nobody")


def test_a_role_that_may_not_log_in_is_recognised(server: Server) -> None:
    message = refusal(server.address("sleeper", "", "postgres"))
    assert 'there is no role "sleeper", or it may not log in (28000)' in message
    (alter,) = [statement for statement in commands(message) if statement.startswith("ALTER")]
    server.execute(alter)
    assert "(28000)" not in refusal(server.address("sleeper", "", "none"))
    server.execute("ALTER ROLE sleeper NOLOGIN")


def test_a_missing_database_is_reported_with_the_command_that_creates_it(server: Server, role: None) -> None:
    message = refusal(server.address())
    assert f"there is no database {quoted(DATABASE)} (3D000)" in message
    try:
        server.execute(*commands(message))
        ended = jobtrail(server.address(), "migrate")
        assert ended.returncode == 0, ended.stderr
        assert jobtrail(server.address(), "runs", "list").returncode == 0
    finally:
        server.execute(f"DROP DATABASE {quoted(DATABASE)} WITH (FORCE)")


def test_a_database_that_refuses_the_role_is_reported_with_the_command_that_grants_access(
    server: Server, role: None, database: None
) -> None:
    server.execute(f"REVOKE CONNECT ON DATABASE {quoted(DATABASE)} FROM PUBLIC")
    message = refusal(server.address("trusted", ""), "runs", "list")
    assert f'the role "trusted" may not connect to the database {quoted(DATABASE)} (42501)' in message
    server.execute(*commands(message))
    assert "(42501)" not in refusal(server.address("trusted", ""), "runs", "list")
    server.execute(f"REVOKE CONNECT ON DATABASE {quoted(DATABASE)} FROM trusted")


def test_a_host_without_a_rule_is_reported_with_the_line_that_allows_it(server: Server) -> None:
    server.execute("CREATE ROLE stranger LOGIN PASSWORD 'x'")
    try:
        server.write_rules(RULES.replace("host all all 127.0.0.1/32 scram-sha-256", ""))
        message = refusal(server.address("stranger", "x", "postgres"))
        assert (
            'pg_hba.conf does not let the role "stranger" into the database "postgres" from this host without TLS (28000)'
            in message
        )
        (line,) = re.findall(r"Put `([^`]+)` above its other lines", message)
        server.write_rules(f"{line}\n{RULES}")
        assert "28000" not in refusal(server.address("stranger", "x", "none"))
        assert "does not let the role" in refusal(server.address("trusted", "", "closed"))
    finally:
        server.write_rules(RULES)
        server.execute("DROP ROLE stranger")


def test_a_system_user_that_is_not_the_role_is_reported(server: Server) -> None:
    """Over the socket, where the system tells the server which user this is."""
    server.write_rules(RULES.replace("local all all trust", "local all all peer"))
    try:
        message = refusal(f"postgresql://trusted@/postgres?host={server.data.parent}&port={server.port}")
        assert 'the server could not verify that this client is the role "trusted" (28000)' in message
        assert "Run as that user" in message
    finally:
        server.write_rules(RULES)


def test_a_server_without_a_free_session_is_reported(server: Server, role: None, database: None) -> None:
    server.execute(f"ALTER ROLE {quoted(ROLE)} CONNECTION LIMIT 1")
    with psycopg.connect(server.address()):
        message = refusal(server.address())
    assert f"no more sessions are allowed for the role {quoted(ROLE)} (53300)" in message
    assert "max_connections" in message


def test_a_port_where_nothing_listens_is_reported() -> None:
    for options in ("", "?sslmode=require"):
        message = refusal(f"postgresql://u:{PASSWORD}@{HOST}:{free_ports(1)[0]}/x{options}")
        assert (
            ": nothing listens there (connection refused). Start Postgres, or correct host and port"
            in message
        )
        assert f"x at {HOST}:" in message


def test_a_missing_socket_is_named(tmp_path: Path) -> None:
    for url, folder in (
        (f"postgresql:///x?host={tmp_path}&port=5999", tmp_path),
        ("postgresql:///x?host=/nowhere", "/nowhere"),
    ):
        message = refusal(url)
        assert f"x at the socket {folder}/.s.PGSQL.5" in message
        assert "nothing listens there (no such file or directory). Start Postgres" in message
    with closing(socket.socket(socket.AF_UNIX)) as left_over:
        left_over.bind(f"{tmp_path}/.s.PGSQL.5432")
    assert "nothing listens there (connection refused)" in refusal(f"postgresql:///x?host={tmp_path}")


def test_an_unknown_host_is_named() -> None:
    message = refusal(f"postgresql://u:{PASSWORD}@no-such-host.invalid/x")
    assert re.search(
        r"no host has the name 'no-such-host\.invalid' \([^)]+\)\. Correct it in JOBTRAIL_DATABASE_URL",
        message,
    )


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"S" * 8]
)
def test_another_kind_of_server_at_the_port_is_recognised(greeting: bytes) -> None:
    def greet(connection: socket.socket) -> None:
        connection.recv(16)
        connection.sendall(greeting)

    with answering(greet) as port:
        message = refusal(f"postgresql://u@{HOST}:{port}/x")
    assert "what listens there does not speak Postgres' protocol. Correct host and port" in message


def test_a_proxy_without_a_server_behind_it_is_recognised() -> None:
    """Docker's proxy is like that while the container does not listen yet."""
    with answering(lambda connection: None) as port:
        assert "the connection is closed at once" in refusal(f"postgresql://u@{HOST}:{port}/x")


def test_a_server_that_does_not_answer_is_recognised(server: Server, role: None, database: None) -> None:
    """The server is frozen: the system accepts the connection, but no answer comes."""
    os.kill(server.running.pid, signal.SIGSTOP)
    try:
        message = refusal(server.address(), JOBTRAIL_DATABASE_CONNECT_TIMEOUT_SECONDS="2")
    finally:
        os.kill(server.running.pid, signal.SIGCONT)
    assert "the connection is accepted, but nothing answers. Postgres is frozen or overloaded" in message


def test_of_the_causes_at_several_hosts_the_lasting_one_is_reported(server: Server, role: None) -> None:
    (dead,) = free_ports(1)
    url = server.address(password="wrong").replace(
        f"{HOST}:{server.port}", f"{HOST}:{dead},{HOST}:{server.port}"
    )
    message = refusal(url)
    assert f"{DATABASE} at {HOST}:{server.port}: the server refused the password" in message


def test_a_starting_server_is_away_and_a_refusing_one_is_not(server: Server, role: None) -> None:
    """Code that waits for a database branches on the type of the error."""
    cases: list[tuple[str, type[StoreError]]] = [
        (f"postgresql://u@{HOST}:{free_ports(1)[0]}/x", DatabaseAwayError),
        ("postgresql:///x?host=/nowhere", DatabaseAwayError),
        ("postgresql://no-such-host.invalid/x", DatabaseAwayError),
        (server.address(password="wrong"), StoreError),
        (server.address(), StoreError),
    ]
    for url, kind in cases:
        with pytest.raises(StoreError) as raised:
            connect(DatabaseSettings.load(database_url=url), "jobtrail tests")
        assert type(raised.value) is kind, url


def test_a_starting_server_is_reported(postgres_version: int) -> None:
    """It accepts connections before it opens sessions: here it waits for a log file that does not come."""
    with serving(postgres_version, restore_command="sleep 600") as server:
        server.running.stop()
        (server.data / "recovery.signal").touch()
        shutil.chown(server.data / "recovery.signal", server.data.owner(), server.data.group())
        with starting(server.running):
            url = server.running.url()
            wait_until(lambda: "57P03" in message_of(url), "a server that is starting")
            message = refusal(url)
            assert "Postgres is starting or stopping (57P03). That passes by itself" in message
            with pytest.raises(DatabaseAwayError):
                connect(DatabaseSettings.load(database_url=url), "jobtrail tests")


def test_a_standby_answers_and_refuses_changes_with_the_reason(postgres_version: int) -> None:
    with serving(postgres_version) as server:
        url = server.running.url("postgres")
        assert jobtrail(url, "migrate").returncode == 0
        server.running.stop()
        (server.data / "standby.signal").touch()
        shutil.chown(server.data / "standby.signal", server.data.owner(), server.data.group())
        server.running.start()
        assert jobtrail(url, "runs", "list").returncode == 0
        message = refusal(url, "retain", JOBTRAIL_RETENTION_DAYS="90")
        assert "it is read-only now: " in message
        assert "(25006). It is a standby, or default_transaction_read_only is on. Name the primary" in message


def test_missing_tables_are_reported_with_the_command_that_creates_them(
    server: Server, role: None, database: None
) -> None:
    message = refusal(server.address(), "runs", "list")
    assert "Run `jobtrail migrate` first" in message
    assert jobtrail(server.address(), "migrate").returncode == 0
    server.execute("DROP TABLE jobtrail.outcomes_hourly", database=DATABASE)
    message = refusal(server.address(), "sources")
    assert "its tables are not those of this release: " in message
    assert "(42P01). Run `jobtrail migrate` with this release" in message


def test_a_database_of_a_later_release_is_refused_with_the_cure(
    server: Server, role: None, database: None
) -> None:
    assert jobtrail(server.address(), "migrate").returncode == 0
    server.execute(
        "INSERT INTO jobtrail_control.migrations VALUES (99, 99, 'a_later_one')", database=DATABASE
    )
    known = released()[-1].version
    assert f"this code knows {known}. Update this program" in refusal(server.address(), "runs", "list")


def test_a_role_that_may_not_read_is_reported_with_the_command_that_cures_it(
    server: Server, role: None, database: None
) -> None:
    assert jobtrail(server.address(), "migrate").returncode == 0
    message = ""
    for command in (["runs", "list"], ["verify"]):
        message = refusal(server.address("trusted", ""), *command)
        assert "(42501). As the owner of the tables: GRANT USAGE" in message
    with psycopg.connect(server.address(), autocommit=True) as owner:
        for statement in commands(message):
            owner.execute(statement.encode())
    for command in (["runs", "list"], ["verify"], ["dead-letters", "list"]):
        ended = jobtrail(server.address("trusted", ""), *command)
        assert ended.returncode == 0, ended.stderr


def test_a_role_that_may_not_write_is_reported_with_the_command_that_cures_it(
    server: Server, role: None, database: None
) -> None:
    assert jobtrail(server.address(), "migrate").returncode == 0
    every = (
        ["dead-letters", "purge", "--all", "--yes"],
        ["retain"],
        ["migrate"],
        ["dead-letters", "retry", "--all"],
    )
    message = ""
    for command in every:
        message = refusal(server.address("trusted", ""), *command)
        assert (
            "(42501). Connect as the role that owns the tables, or make this one a member of it: GRANT"
            in message
        ), message
    server.execute(*commands(message))
    for command in every:
        ended = jobtrail(server.address("trusted", ""), *command)
        assert ended.returncode == 0, (command, ended.stderr)


def test_a_role_that_may_not_migrate_is_reported_with_the_command_that_cures_it(
    server: Server, role: None, database: None
) -> None:
    message = refusal(server.address("trusted", ""))
    assert f'GRANT CREATE ON DATABASE {quoted(DATABASE)} TO "trusted";' in message
    server.execute(*commands(message))
    ended = jobtrail(server.address("trusted", ""), "migrate")
    assert ended.returncode == 0, ended.stderr


def test_an_aggregator_without_tables_names_the_command_that_creates_them(
    server: Server, role: None, database: None
) -> None:
    ended = jobtrail(server.address(), "aggregate", JOBTRAIL_AGGREGATOR_PORT="0")
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert "the database is at migration 0, this code needs" in last
    assert last.endswith("Run `jobtrail migrate` first.")


def test_an_aggregator_that_may_not_write_names_the_missing_privilege(
    server: Server, role: None, database: None
) -> None:
    """It does not recommend `jobtrail migrate`."""
    assert jobtrail(server.address(), "migrate").returncode == 0
    ended = jobtrail(server.address("trusted", ""), "aggregate", JOBTRAIL_AGGREGATOR_PORT="0")
    assert ended.returncode == 2
    last = ended.stderr.splitlines()[-1]
    assert "(42501). Connect as the role that owns the tables" in last
    assert "Run `jobtrail migrate`" not in last


def test_a_session_that_is_ended_during_a_query_is_reported(
    server: Server, role: None, database: None
) -> None:
    assert jobtrail(server.address(), "migrate").returncode == 0
    with psycopg.connect(server.url, dbname=DATABASE) as holder:
        holder.execute("LOCK TABLE jobtrail.jobs")
        waiting = subprocess.Popen(
            [JOBTRAIL, "runs", "list"],
            env={"PATH": os.environ["PATH"], "JOBTRAIL_DATABASE_URL": server.address()},
            stderr=subprocess.PIPE,
            text=True,
        )
        with psycopg.connect(server.url, autocommit=True) as other:
            ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            wait_until(
                lambda: other.execute(ended).fetchone() is not None, "a session that waits for the lock"
            )
        _, message = waiting.communicate(timeout=60)
    assert waiting.returncode == 2
    assert "the database could not answer: the connection was lost: " in message
    assert "(57P01). Run it again when Postgres is back" in message


def test_a_table_that_stays_locked_is_reported(server: Server, role: None, database: None) -> None:
    assert jobtrail(server.address(), "migrate").returncode == 0
    with psycopg.connect(server.url, dbname=DATABASE) as holder:
        holder.execute("LOCK TABLE jobtrail.jobs")
        message = refusal(server.address(), "verify", JOBTRAIL_DATABASE_LOCK_TIMEOUT_SECONDS="1")
        assert (
            "another session kept a table locked for longer than JOBTRAIL_DATABASE_LOCK_TIMEOUT_SECONDS (55P03)"
            in message
        )
        message = refusal(server.address(), "runs", "list", JOBTRAIL_ANSWERS_STATEMENT_TIMEOUT_SECONDS="1")
        assert (
            "a statement was cancelled (57014). It took longer than its limit, JOBTRAIL_ANSWERS_STATEMENT_TIMEOUT_SECONDS"
            in message
        )


def test_tls_that_the_server_does_not_offer_is_reported(server: Server, role: None) -> None:
    for mode in ("require", "verify-ca", "verify-full"):
        options = f"?sslmode={mode}" + ("&sslrootcert=system" if mode == "verify-full" else "")
        message = refusal(server.address(options=options))
        assert f"sslmode={mode} demands TLS, and the server offers none. Switch it on there" in message


def test_tls_that_the_server_demands_is_proposed(tls_server: Server) -> None:
    tls_server.write_rules(RULES.replace("host all all", "hostssl all all"))
    try:
        message = refusal(tls_server.address(options="?sslmode=disable"))
        assert "from this host without TLS (28000)" in message
        assert "or encrypt, by ?sslmode=require in JOBTRAIL_DATABASE_URL: the server offers it" in message
        assert jobtrail(tls_server.address(options="?sslmode=require"), "migrate").returncode == 0
        assert "(28P01)" in refusal(tls_server.address(password="wrong", options="?sslmode=require"))
    finally:
        tls_server.write_rules(RULES)


def test_an_untrusted_certificate_is_reported_with_the_option_that_trusts_it(
    tls_server: Server, tmp_path: Path
) -> None:
    shutil.copy(tls_server.data / "server.crt", tmp_path / "ca.pem")
    url = tls_server.address().replace(HOST, "localhost")
    message = refusal(f"{url}?sslmode=verify-full&sslrootcert=system")
    assert re.search(
        r"the server's certificate is not trusted \([^)]+\)\. Name the file of its authority", message
    )
    (options,) = re.findall(r"JOBTRAIL_DATABASE_URL: (\?\S+/path/ca\.pem)", message)
    cured = options.replace("/path/ca.pem", str(tmp_path / "ca.pem"))
    ended = jobtrail(url + cured, "migrate")
    assert ended.returncode == 0, ended.stderr


def test_a_missing_file_of_authorities_is_named(tls_server: Server) -> None:
    message = refusal(tls_server.address(options="?sslmode=verify-full"))
    assert (
        "there is no file of authorities to trust: /nonexistent/.postgresql/root.crt. Name the file"
        in message
    )
    message = refusal(tls_server.address(options="?sslmode=verify-ca&sslrootcert=/no/ca.pem"))
    assert "there is no file of authorities to trust: /no/ca.pem" in message


def test_a_certificate_of_another_host_is_reported(tls_server: Server) -> None:
    message = refusal(
        tls_server.address(options=f"?sslmode=verify-full&sslrootcert={tls_server.data}/server.crt")
    )
    assert f"the server's certificate is not for the host '{HOST}'" in message
    assert "Name the host in JOBTRAIL_DATABASE_URL as the certificate does" in message


def test_an_expired_certificate_is_reported(tls_server: Server) -> None:
    give_certificate(tls_server, "localhost", days=-1)
    tls_server.reload()
    try:
        url = tls_server.address().replace(HOST, "localhost")
        message = refusal(f"{url}?sslmode=verify-full&sslrootcert={tls_server.data}/server.crt")
        assert "the server's certificate is not valid now (certificate has expired). Renew it" in message
    finally:
        give_certificate(tls_server, "localhost")
        tls_server.reload()


@contextmanager
def starting(server: PostgresServer) -> Iterator[None]:
    """Start it in another thread, without waiting until it opens sessions."""
    thread = threading.Thread(target=try_to_start, args=(server,))
    thread.start()
    try:
        yield
    finally:
        server.kill()
        thread.join()


def try_to_start(server: PostgresServer) -> None:
    from servers.errors import ServerUnavailableError

    try:
        server.start()
    except ServerUnavailableError:
        return  # it was killed, as the test intends


def message_of(url: str) -> str:
    try:
        connect(DatabaseSettings.load(database_url=url), "jobtrail tests").close()
    except StoreError as error:
        return str(error)
    return ""
