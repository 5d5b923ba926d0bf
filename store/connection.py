"""Connections to Postgres: UTC, our schema first, and limits on how long a session of ours may hold others up."""

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store.causes import connection_error

SCHEMA = "jobtrail"
"""The schema of the derived tables, as the headers of the migrations name it."""
REBUILD_SCHEMA = "jobtrail_rebuild"
"""Where a rebuild makes them anew."""
OLD_SCHEMA = "jobtrail_old"
"""What the tables that a rebuild replaced are called until they are dropped."""

# A writer that was stopped (SIGSTOP, a lost host) must not keep its locks for longer than the server can notice.
_CLIENT_CHECK_MS = 10_000
_TCP_KEEPALIVES_IDLE_SECONDS = 30
# Keepalives are not sent while data is under way: what was sent and is never acknowledged is given up after this.
_TCP_USER_TIMEOUT_MS = 60 * 1_000


def connect(
    settings: DatabaseSettings,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_timeout_seconds: int = 0,
    schema: str = SCHEMA,
) -> psycopg.Connection:
    """A new connection with ``search_path`` set to the schema of the derived tables, or to another ``schema``.

    Raises StoreError that says why and what to do, never with the password: DatabaseAwayError where waiting helps.
    """
    _check_url(settings)
    options = {
        "search_path": schema,
        "timezone": "UTC",
        # Messages are acknowledged after the commit, so it has to be on disk, whatever the role or database says.
        "synchronous_commit": "on",
        "default_transaction_isolation": "read\\ committed",
        "lock_timeout": f"{settings.database_lock_timeout_seconds}s",
        "statement_timeout": f"{statement_timeout_seconds}s",
        "idle_in_transaction_session_timeout": f"{settings.database_idle_in_transaction_seconds}s",
        "client_connection_check_interval": f"{_CLIENT_CHECK_MS}ms",
    }
    conninfo = make_conninfo(
        settings.database_url.get_secret_value(),
        application_name=application_name,
        connect_timeout=settings.database_connect_timeout_seconds,
        keepalives_idle=_TCP_KEEPALIVES_IDLE_SECONDS,
        keepalives_interval=10,
        keepalives_count=3,
        tcp_user_timeout=_TCP_USER_TIMEOUT_MS,
        client_encoding="UTF8",
        options=" ".join(f"-c {name}={value}" for name, value in options.items()),
    )
    try:
        return psycopg.connect(conninfo, autocommit=autocommit)
    except psycopg.Error as error:
        # Without its traceback: that holds psycopg's frame, which holds the error and, after a timeout, the half-open
        # connection, until Python looks for cycles; and a consumer that waits for Postgres makes too little garbage for that.
        raise connection_error(conninfo, error) from error.with_traceback(None)


def _check_url(settings: DatabaseSettings) -> None:
    """Raise StoreError for a URL that cannot be used, without libpq's words: they repeat it, password included."""
    try:
        found = conninfo_to_dict(settings.database_url.get_secret_value())
    except psycopg.Error:
        parts = None
    else:
        parts = {name: str(value) for name, value in found.items() if value is not None}
    # A password with an @ or a / that is not escaped goes on in what libpq takes for host, port and name.
    if (
        parts is None
        or "@" in parts.get("host", "")
        or "@" in parts.get("dbname", "")
        or not all(port.isdecimal() for port in parts.get("port", "").split(",") if port)
    ):
        raise StoreError(
            "JOBTRAIL_DATABASE_URL is not a libpq URL; escape reserved characters in user and password with %XX"
        )
