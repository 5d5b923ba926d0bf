"""Exposes a tally to Prometheus. It is computed at each scrape, so that windows move while nothing arrives.

docs/metrics.md explains each metric and how to add up replicas; a test compares it with this module.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from consumers.metrics.sums import Labels, Spread
from consumers.metrics.tally import Tally

SUCCEEDED, FAILED = "succeeded", "failed"


class TallyCollector(Collector):
    """The metrics about jobs: everything in a tally."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def collect(self) -> Iterable[Metric]:
        """Return all metrics, as of one time."""
        with self._tally.lock:
            return [*_counters(self._tally), *_histograms(self._tally), *_windows(self._tally)]


def _counters(tally: Tally) -> Iterator[Metric]:
    yield _counter("jobtrail_events", "Events counted.", ("namespace", "state"), tally.events.values)
    yield _counter(
        "jobtrail_attempts",
        "Attempts that ended, by outcome: completed, retryable, discarded or cancelled.",
        ("namespace", "source", "worker", "queue", "outcome"),
        tally.attempts.values,
    )
    yield _counter(
        "jobtrail_failures",
        "Attempts that failed (retryable or discarded), by the category of their error.",
        ("namespace", "source", "worker", "category"),
        tally.failures.values,
    )
    yield _counter(
        "jobtrail_undecodable_events",
        "Messages that are not valid events; the aggregator keeps them as dead letters.",
        ("reason",),
        {(reason,): count for reason, count in tally.undecodable.items()},
    )
    yield _counter(
        "jobtrail_implausible_times",
        "Impossible durations and waits, which are in no histogram.",
        ("measure", "reason"),
        tally.implausible,
    )
    yield _counter(
        "jobtrail_events_outside_windows",
        "Events that occurred before the longest window, or later than now by more than the tolerance.",
        ("reason",),
        {(reason,): count for reason, count in tally.outside_windows.items()},
    )
    yield _counter(
        "jobtrail_label_values_over_limit",
        "Events whose value of this label is shown as `other`, because there are too many values.",
        ("label",),
        {(label,): count for label, count in tally.values_over_limit.items()},
    )
    yield _counter(
        "jobtrail_label_sets_over_limit",
        "Counted as `other` in this metric, because it has too many sets of labels.",
        ("metric",),
        {(metric,): count for metric, count in tally.sets_over_limit().items()},
    )


def _counter(name: str, meaning: str, labels: tuple[str, ...], values: Mapping[Labels, int]) -> Metric:
    family = CounterMetricFamily(name, meaning, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family


def _histograms(tally: Tally) -> Iterator[Metric]:
    yield _histogram(
        "jobtrail_attempt_duration_seconds",
        "How long attempts ran; only attempts that say when they started.",
        ("namespace", "worker", "outcome"),
        tally.durations.values,
    )
    yield _histogram(
        "jobtrail_queue_wait_seconds",
        "How long first attempts waited between being ready and starting.",
        ("namespace", "queue"),
        tally.queue_waits.values,
    )
    yield _histogram(
        "jobtrail_event_delay_seconds",
        "Time from an event's occurrence until it was counted, by the two hosts' clocks; without events outside the windows.",
        (),
        {(): tally.delays},
    )


def _histogram(name: str, meaning: str, labels: tuple[str, ...], values: Mapping[Labels, Spread]) -> Metric:
    family = HistogramMetricFamily(name, meaning, labels=labels)
    for key, spread in values.items():
        cumulated, buckets = 0, []
        for bound, count in zip((*map(float, spread.bounds), "+Inf"), spread.counts, strict=True):
            cumulated += count
            buckets.append((str(bound), float(cumulated)))
        family.add_metric(key, buckets, spread.sum_us / 1_000_000)
    return family


def _windows(tally: Tally) -> Iterator[Metric]:
    attempts = GaugeMetricFamily(
        "jobtrail_window_attempts",
        "Attempts that finished within the window up to now, by this replica: completed; retryable or discarded.",
        labels=("namespace", "source", "window", "outcome"),
    )
    jobs = GaugeMetricFamily(
        "jobtrail_window_jobs",
        "Jobs that ended without a retry within the window up to now, by this replica: completed; discarded.",
        labels=("namespace", "source", "window", "outcome"),
    )
    ratio = GaugeMetricFamily(
        "jobtrail_window_success_ratio",
        "Share of successes among the attempts or jobs in the window, by this replica alone; missing if nothing finished.",
        labels=("namespace", "source", "window", "of"),
    )
    covered = GaugeMetricFamily(
        "jobtrail_window_covered_seconds",
        "How much of the window this replica has been running: less than the window after a restart.",
        labels=("window",),
    )
    for window, counts in tally.windows().items():
        for namespace, source in {key[:2]: None for key in counts}:
            labels = (namespace, source, window)
            completed = counts.get((namespace, source, "completed"), 0)
            discarded = counts.get((namespace, source, "discarded"), 0)
            failed = discarded + counts.get((namespace, source, "retryable"), 0)
            for family, of, failures in ((attempts, "attempts", failed), (jobs, "jobs", discarded)):
                family.add_metric((*labels, SUCCEEDED), completed)
                family.add_metric((*labels, FAILED), failures)
                if completed + failures:
                    ratio.add_metric((*labels, of), completed / (completed + failures))
    for window, seconds in tally.covered_seconds().items():
        covered.add_metric((window,), seconds)
    yield from (attempts, jobs, ratio, covered)
