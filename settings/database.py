"""Settings of the connection to Postgres, and how long one of our sessions may block others."""

from pydantic import Field, SecretStr

from settings.base import Settings


class DatabaseSettings(Settings):
    """Postgres 15 or later. TLS is part of the URL: ``?sslmode=verify-full&sslrootcert=…``."""

    database_url: SecretStr = Field(
        description="libpq URL: postgresql://user:password@host:5432/name?sslmode=…"
    )
    database_connect_timeout_seconds: int = Field(
        10, ge=1, le=600, description="limit of one connection attempt"
    )
    database_lock_timeout_seconds: int = Field(
        60, ge=1, le=3600, description="longest wait for a lock while a batch is written"
    )
    database_idle_in_transaction_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="Postgres ends the session of a writer that is idle in a transaction for this long",
    )
