"""Sessions on Postgres: their settings, and that no error shows the password."""

import socket

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store.connection import connect
from store.diagnosis import addresses, error_in, options_of
from store.migrate import migrate


@pytest.mark.parametrize(
    "url",
    [
        "postgresql//jobtrail:s3cret@db/x",
        "postgresql://jobtrail:s3cret%zz@db/x",
        "postgresql://jobtrail:s3cret@[127.0.0.1",
        "postgresql://jobtrail:x@s3cret@db/x",
        "postgresql://jobtrail:x/s3cret@db/x",
        "postgresql://jobtrail:12/s3cret@db/x",
        "postgresql://jobtrail:pw@db:s3cret/x",
    ],
)
def test_an_invalid_url_is_refused_without_showing_it(url: str) -> None:
    """libpq's own message repeats the URL, or mistakes the end of the password for the host."""
    settings = DatabaseSettings.load(database_url=url)
    with pytest.raises(
        StoreError, match="escape reserved characters in user and password with %XX"
    ) as raised:
        connect(settings, "jobtrail tests")
    assert "s3cret" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_an_escaped_password_and_several_hosts_are_accepted() -> None:
    url = "postgresql://jobtrail:s3%40c%2Fret@one.invalid:5432,two.invalid:5433/x"
    with pytest.raises(StoreError, match=r"x at one\.invalid:5432: no host has the name 'one\.invalid'"):
        connect(DatabaseSettings.load(database_url=url), "jobtrail tests")
    assert list(map(str, addresses(options_of(url)))) == ["x at one.invalid:5432", "x at two.invalid:5433"]


def test_an_attempt_without_an_answer_in_time_is_closed() -> None:
    """Code that keeps the error, to log it or to try again, does not keep a connection with it."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = DatabaseSettings.load(
            database_url=f"postgresql://jobtrail@127.0.0.1:{silent.getsockname()[1]}/jobtrail",
            database_connect_timeout_seconds=2,
        )
        with pytest.raises(StoreError, match="the connection is accepted, but nothing answers") as raised:
            connect(settings, "jobtrail tests")
        taken, _ = silent.accept()
        with taken:
            taken.settimeout(5)
            while taken.recv(1024):
                pass  # skip the request; then comes the end of the stream, not the timeout
    assert isinstance(raised.value.__cause__, psycopg.errors.ConnectionTimeout)


@pytest.mark.parametrize(
    ("fields", "code", "routine"),
    [
        ('S "FATAL" V "FATAL" C "28P01" M "password authentication failed" F "auth.c" L "3" R "auth_failed" \\x00', "28P01", "auth_failed"),
        ('S "FATAL" V "FATAL" C "3D000" M "Datenbank »x« existiert nicht" F "a.c" L "3" R "InitPostgres" \\x00', "3D000", "InitPostgres"),
        ('S "FATAL" V "FATAL" C "28000" M "role "x" C "42501" R "y" is not" F "a.c" L "3" R "Real" \\x00', "28000", "Real"),
        ('S "FATAL" V "FATAL" C "42501" M "two\nlines" D "User R "x"\nmore" F "a.c" L "3" R "Check" \\x00', "42501", "Check"),
        ('S "ERROR" C "08P01" M "no such database: x" \\x00', "08P01", ""),
    ],
)  # fmt: skip
def test_the_code_of_a_refusal_is_read_with_any_message(fields: str, code: str, routine: str) -> None:
    """The server writes the message in its own language, with unescaped names in it."""
    before = 'F\t9\tSSLRequest\t 1234 5679\nB\t23\tAuthenticationSASL\t "SCRAM-SHA-256" ""\n'
    assert error_in(f'{before}B\t97\tErrorResponse\t {fields}\nB\t5\tOther\t R "No"\n') == (code, routine)
    assert error_in(before) == ("", "")


def test_commits_are_synchronous_and_dead_peers_noticed_despite_the_databases_settings(
    database_url: str,
) -> None:
    """Messages are acknowledged after the commit, so it must be on disk. Text is UTF-8, even with another PGCLIENTENCODING."""
    with psycopg.connect(database_url, autocommit=True) as administrator:
        name = sql.Identifier(administrator.info.dbname)
        administrator.execute(sql.SQL("ALTER DATABASE {} SET synchronous_commit = off").format(name))
        administrator.execute(sql.SQL("ALTER DATABASE {} SET client_encoding = 'LATIN1'").format(name))
    with connect(DatabaseSettings.load(database_url=database_url), "jobtrail tests") as connection:
        assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        assert connection.execute("SHOW client_encoding").fetchone() == ("UTF8",)
        assert connection.execute("SHOW search_path").fetchone() == ("jobtrail",)
        assert connection.info.get_parameters()["tcp_user_timeout"] == "60000"


def test_a_database_in_another_encoding_is_refused_with_the_cure(empty_database_url: str) -> None:
    """It is refused before anything is created in it."""
    with psycopg.connect(empty_database_url, autocommit=True) as administrator:
        administrator.execute("CREATE DATABASE latin1 ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
        try:
            url = make_conninfo(empty_database_url, dbname="latin1")
            with connect(DatabaseSettings.load(database_url=url), "jobtrail tests") as connection:
                with pytest.raises(StoreError, match=r"expected .* UTF8, got LATIN1.*ENCODING 'UTF8'"):
                    migrate(connection)
                assert connection.execute("SELECT to_regnamespace('jobtrail_control')").fetchone() == (None,)
        finally:
            administrator.execute("DROP DATABASE latin1 WITH (FORCE)")
