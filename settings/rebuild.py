"""A rebuild: how much it takes at once, by how many processes, and how long it may hold up the aggregators."""

from pydantic import Field

from settings.broker import BrokerSettings
from settings.database import DatabaseSettings
from settings.service import ServiceSettings


class RebuildSettings(BrokerSettings, DatabaseSettings, ServiceSettings):
    """Everything `jobtrail rebuild` reads."""

    rebuild_processes: int = Field(
        0,
        ge=0,
        le=64,
        description="processes that load, each some of the partitions; 0 = as many as there are cores, at most 4",
    )
    rebuild_batch_events: int = Field(
        40_000,
        ge=1,
        le=200_000,
        description="most events of one transaction; the more, the fewer rows are written for each job",
    )
    rebuild_batch_bytes: int = Field(
        64 * 1024 * 1024,
        ge=1024,
        le=1024 * 1024 * 1024,
        description="most bytes of payload of one transaction",
    )
    rebuild_receiver_queue: int = Field(
        40_000, ge=1, le=1_000_000, description="messages that one process fetches ahead"
    )
    rebuild_swap_seconds: float = Field(
        4,
        gt=0,
        le=60,
        description="longest time for which writers may be held up by one try to swap; then it follows on and tries again",
    )
    rebuild_retry_longest_seconds: float = Field(
        10, gt=0, le=300, description="longest pause between two attempts to reach a database that is away"
    )
