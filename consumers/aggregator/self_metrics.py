"""The aggregator's own metrics. Counters start at zero with the process; for exact numbers query Postgres."""

import time
from datetime import UTC, date, datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from consumers.writing.pipeline import Committed

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_EVENTS = (1, 10, 100, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000)


class AggregatorMetrics:
    """The metrics of one aggregator process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._events = Counter(
            "jobtrail_aggregator_events",
            "Messages of committed batches: stored events, events before the horizon, dead letters. Redelivered ones count again.",
            ["result"],
            registry=self.registry,
        )
        for result in ("stored", "expired", "dead_letter"):
            self._events.labels(result)
        self._dead_letters = Counter(
            "jobtrail_aggregator_dead_letters", "Dead letters by reason.", ["reason"], registry=self.registry
        )
        self._attempts = Counter(
            "jobtrail_aggregator_new_attempts",
            "Finished attempts that were new to the tables.",
            registry=self.registry,
        )
        self._repeated_jobs = Counter(
            "jobtrail_aggregator_repeated_jobs",
            "Jobs written whose attempt had ended before: their id was used again. Each batch with events of such a job counts "
            "it once.",
            registry=self.registry,
        )
        self._batch_events = Histogram(
            "jobtrail_aggregator_batch_events",
            "Messages of a batch.",
            buckets=_EVENTS,
            registry=self.registry,
        )
        self._commit_delay = Histogram(
            "jobtrail_aggregator_commit_delay_seconds",
            "Time from the publishing of a batch's last message to the batch's commit, by the two hosts' clocks.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._committed_at = Gauge(
            "jobtrail_aggregator_last_commit_timestamp_seconds",
            "When a batch was last committed.",
            registry=self.registry,
        )
        self.database_up = Gauge(
            "jobtrail_aggregator_database_up",
            "1 when the last attempt to reach Postgres succeeded.",
            registry=self.registry,
        )

        self._horizon_at = Gauge(
            "jobtrail_aggregator_horizon_timestamp_seconds",
            "Start of the history that is kept: older data has been deleted. 0 while nothing has.",
            registry=self.registry,
        )

    def set_horizon(self, horizon: date | None) -> None:
        """Set the metric of the horizon."""
        self._horizon_at.set(datetime(*horizon.timetuple()[:3], tzinfo=UTC).timestamp() if horizon else 0)

    def committed(self, done: Committed) -> None:
        """Count a batch that is committed in Postgres."""
        now = time.time()
        batch = done.batch
        messages = done.received.messages
        self._events.labels("stored").inc(batch.events - batch.expired)
        self._events.labels("expired").inc(batch.expired)
        self._events.labels("dead_letter").inc(len(batch.dead_letters))
        for letter in batch.dead_letters:
            self._dead_letters.labels(letter.reason).inc()
        self._attempts.inc(done.written.new_attempts)
        self._repeated_jobs.inc(done.written.repeated_jobs)
        self._batch_events.observe(len(messages))
        self._commit_delay.observe(max(0.0, now - messages[-1].publish_timestamp() / 1000))
        self._committed_at.set(now)
