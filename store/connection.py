"""Connections to Postgres: UTC, our schema first, and limits on how long a session of ours may hold others up."""

import psycopg

from schemas.errors import StoreError
from settings.database import DatabaseSettings

# A writer that was stopped (SIGSTOP, a lost host) must not keep its locks for longer than the server can notice.
_CLIENT_CHECK_MS = 10_000
_TCP_KEEPALIVES_IDLE_SECONDS = 30


def connect(
    settings: DatabaseSettings,
    application_name: str,
    *,
    autocommit: bool = False,
    statement_timeout_seconds: int = 0,
) -> psycopg.Connection:
    """A new connection with ``search_path`` set to the schema of the derived tables.

    Raises StoreError that names host and database, never the password.
    """
    options = {
        "search_path": settings.database_schema,
        "timezone": "UTC",
        "default_transaction_isolation": "read\\ committed",
        "lock_timeout": f"{settings.database_lock_timeout_seconds}s",
        "statement_timeout": f"{statement_timeout_seconds}s",
        "idle_in_transaction_session_timeout": f"{settings.database_idle_in_transaction_seconds}s",
        "client_connection_check_interval": f"{_CLIENT_CHECK_MS}ms",
    }
    try:
        return psycopg.connect(
            settings.database_url.get_secret_value(),
            autocommit=autocommit,
            application_name=application_name,
            connect_timeout=settings.database_connect_timeout_seconds,
            keepalives_idle=_TCP_KEEPALIVES_IDLE_SECONDS,
            keepalives_interval=10,
            keepalives_count=3,
            options=" ".join(f"-c {name}={value}" for name, value in options.items()),
        )
    except psycopg.Error as error:
        raise StoreError(
            f"cannot connect to the database {describe(settings)}: {str(error).strip()}. "
            "Check that Postgres runs there and that JOBTRAIL_DATABASE_URL is right."
        ) from error


def describe(settings: DatabaseSettings) -> str:
    """Host, port and name of the database, without the password."""
    try:
        parts = psycopg.conninfo.conninfo_to_dict(settings.database_url.get_secret_value())
    except psycopg.Error:
        return "(JOBTRAIL_DATABASE_URL is not a libpq URL)"
    return f"{parts.get('dbname', '')} at {parts.get('host', 'the local socket')}:{parts.get('port', 5432)}"
