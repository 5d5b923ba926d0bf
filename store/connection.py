"""Connects to Postgres: in UTC, with our schema on the search path, and with limits on how long a session may block others."""

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store.causes import connection_error

SCHEMA = "jobtrail"
"""The schema of the derived tables, as named in the headers of the migrations."""
REBUILD_SCHEMA = "jobtrail_rebuild"
"""The schema in which a rebuild creates the new tables."""
OLD_SCHEMA = "jobtrail_old"
"""The schema of the tables that a rebuild replaced, until they are dropped."""

# A stopped writer (SIGSTOP, a lost host) must lose its locks as soon as the server can notice.
_CLIENT_CHECK_MS = 10_000
_TCP_KEEPALIVES_IDLE_SECONDS = 30
# No keepalives are sent while data is in flight. So end the session when sent data is not acknowledged for this long.
_TCP_USER_TIMEOUT_MS = 60 * 1_000


def connect(
    settings: DatabaseSettings,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_timeout_seconds: int = 0,
    schema: str = SCHEMA,
) -> psycopg.Connection:
    """Return a new connection whose ``search_path`` is the schema of the derived tables, or another ``schema``.

    Raises StoreError with the reason and what to do, without the password; DatabaseAwayError if waiting helps.
    """
    _check_url(settings)
    options = {
        "search_path": schema,
        "timezone": "UTC",
        # Messages are acknowledged after the commit, so it must be on disk, whatever the role or the database sets.
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
        # Without the traceback: its frame refers to the error and, after a timeout, to the half-open connection. That is a
        # cycle, and a consumer that waits for Postgres makes too little garbage for a collection.
        raise connection_error(conninfo, error) from error.with_traceback(None)


def _check_url(settings: DatabaseSettings) -> None:
    """Raise StoreError for a URL that cannot be used, without libpq's message, which repeats the password."""
    try:
        found = conninfo_to_dict(settings.database_url.get_secret_value())
    except psycopg.Error:
        parts = None
    else:
        parts = {name: str(value) for name, value in found.items() if value is not None}
    # The rest of a password with an unescaped @ or / ends up in what libpq reads as host, port or database name.
    if (
        parts is None
        or "@" in parts.get("host", "")
        or "@" in parts.get("dbname", "")
        or not all(port.isdecimal() for port in parts.get("port", "").split(",") if port)
    ):
        raise StoreError(
            "JOBTRAIL_DATABASE_URL is not a libpq URL; escape reserved characters in user and password with %XX"
        )
