"""What `jobtrail retain` reads."""

from settings.database import DatabaseSettings
from settings.retention import RetentionSettings


class RetainSettings(DatabaseSettings, RetentionSettings):
    """The database, and how long it keeps what it has."""
