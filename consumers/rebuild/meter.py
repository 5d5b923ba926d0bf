"""Measures how far a rebuild has read the topic, from the database and the broker, when a report is due."""

import time

import psycopg

from broker.admin import Admin
from broker.reading import Position
from broker.topic_log import partition_logs
from consumers.rebuild.progress import ProgressReporter
from settings.rebuild import RebuildSettings
from store.rebuild.state import Rebuild, read_positions

_TOPIC_EVERY_SECONDS = 5.0


class ProgressMeter:
    """Gives the reporter its numbers when a report is due."""

    def __init__(
        self,
        connection: psycopg.Connection,
        broker: Admin,
        settings: RebuildSettings,
        rebuild: Rebuild,
        reporter: ProgressReporter,
    ) -> None:
        self._connection = connection
        self._broker = broker
        self._settings = settings
        self._rebuild = rebuild
        self._reporter = reporter
        self._logs_at = -_TOPIC_EVERY_SECONDS
        self._logs = partition_logs(broker, settings, [])

    def report_when_due(self) -> None:
        """Report how far the rebuild is, if a report is due. Called often."""
        if not self._reporter.is_due():
            return
        positions = read_positions(self._connection, self._rebuild.id)
        if time.monotonic() - self._logs_at >= _TOPIC_EVERY_SECONDS:
            self._logs = partition_logs(self._broker, self._settings, list(positions))
            self._logs_at = time.monotonic()
        self._reporter.progress(
            events=sum(one.events for one in positions.values()),
            entries=sum(
                self._logs[number].entries_up_to(Position(*one.place))
                for number, one in positions.items()
                if number in self._logs
            ),
            all_entries=sum(log.entries for log in self._logs.values()),
        )
