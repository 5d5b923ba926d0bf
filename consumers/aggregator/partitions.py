"""Creates the partitions of the coming days, between an aggregator's batches."""

import time
from collections.abc import Callable

import psycopg
import structlog

from schemas.errors import StoreError
from store.partitions import ensure_near_days

log = structlog.get_logger(__name__)

_EVERY_SECONDS = 60 * 60


class PartitionUpkeep:
    """Works at the first call, then once an hour. A failure is harmless: rows of a day without a partition go to the default one."""

    def __init__(
        self, connect: Callable[[], psycopg.Connection], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._connect = connect
        self._clock = clock
        self._due_at = clock()

    def when_due(self) -> None:
        """Create the missing partitions, if an hour has passed."""
        if self._clock() < self._due_at:
            return
        self._due_at = self._clock() + _EVERY_SECONDS
        try:
            with self._connect() as connection:
                created = ensure_near_days(connection)
        except (StoreError, psycopg.Error) as error:
            log.warning("partitions_not_created", error=str(error).strip(), then="tries again in an hour")
            return
        if created:
            log.info("partitions_created", first=created[0], last=created[-1], count=len(created))
