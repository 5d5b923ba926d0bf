"""Settings of `jobtrail retain`."""

from settings.database import DatabaseSettings
from settings.retention import RetentionSettings


class RetainSettings(DatabaseSettings, RetentionSettings):
    """The database, and how long data are kept in it."""
