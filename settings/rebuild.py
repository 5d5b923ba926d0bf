"""Settings of a rebuild: the size of its batches, its processes, and how long it may block the aggregators."""

from pydantic import Field

from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from settings.service import ServiceSettings


class RebuildSettings(BrokerSettings, DatabaseSettings, ServiceSettings):
    """All settings of `jobtrail rebuild`."""

    rebuild_processes: int = Field(
        0,
        ge=0,
        le=64,
        description="loading processes, each for some of the partitions; 0 = one per core, at most 4",
    )
    rebuild_batch_events: int = Field(
        40_000,
        ge=1,
        le=200_000,
        description="most events in one transaction; with more events, fewer rows are written for each job",
    )
    rebuild_batch_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="most bytes of payload in one transaction",
    )
    rebuild_receiver_queue: int = Field(
        40_000, ge=1, le=1_000_000, description="messages fetched ahead by one process"
    )
    rebuild_swap_seconds: float = Field(
        4,
        gt=0,
        le=60,
        description="longest time that one attempt to swap may block writers; after it the rebuild catches up and tries again",
    )
    rebuild_retry_longest_seconds: float = Field(
        10,
        gt=0,
        le=300,
        description="longest pause between two attempts to reach a database that does not answer",
    )
