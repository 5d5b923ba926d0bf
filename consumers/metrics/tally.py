"""Everything one process has counted, in bounded memory. The measures of each batch are added to it; `page` exposes it.

Two bounds hold whatever is published: each label has a limited number of values, and each metric a limited number of label
sets. Anything beyond is counted as `other`, so that totals stay correct. Two threads use it (the loop and the scrape), under
a lock.
"""

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from math import gcd

from consumers.metrics.label_values import OTHER, LabelValues
from consumers.metrics.measures import US, Measures
from consumers.metrics.sums import DELAY_SECONDS, Spread, Spreads, Sums
from consumers.metrics.windows import Window, bucket_seconds
from schemas.times import AHEAD_US, LONGEST_MEASURED_US
from settings.metrics import MetricsSettings, window_seconds

NEGATIVE, TOO_LONG = "negative", "too_long"
TOO_OLD, IN_THE_FUTURE = "too_old", "in_the_future"


class Tally:
    """The counts of this process since it started. Hold ``lock`` while reading more than one of them."""

    def __init__(self, settings: MetricsSettings, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self.started_at = clock()
        self.lock = threading.Lock()
        characters = settings.metrics_label_characters
        self._namespace = LabelValues(settings.metrics_namespaces, characters)
        self._source = LabelValues(settings.metrics_sources, characters)
        self._worker = LabelValues(settings.metrics_workers, characters)
        self._queue = LabelValues(settings.metrics_queues, characters)
        self._category = LabelValues(settings.metrics_categories, characters)
        self.values_over_limit = dict.fromkeys(("namespace", "source", "worker", "queue", "category"), 0)
        self.events: Sums[tuple[str, str]] = Sums(settings.metrics_counter_sets)
        self.attempts: Sums[tuple[str, str, str, str, str]] = Sums(settings.metrics_counter_sets)
        self.failures: Sums[tuple[str, str, str, str]] = Sums(settings.metrics_counter_sets)
        self.durations: Spreads[tuple[str, str, str]] = Spreads(settings.metrics_histogram_sets)
        self.queue_waits: Spreads[tuple[str, str]] = Spreads(settings.metrics_histogram_sets)
        self.delays = Spread(DELAY_SECONDS)
        self.implausible = {
            (what, why): 0 for what in ("duration", "queue_wait") for why in (NEGATIVE, TOO_LONG)
        }
        self.undecodable: dict[str, int] = {}
        lengths = {name: window_seconds(name) for name in settings.metrics_windows}
        self._windows = {
            name: Window[tuple[str, str, str]](length, bucket_seconds(length))
            for name, length in lengths.items()
        }
        self._most_window_pairs = settings.metrics_window_sets
        self._window_pairs: set[tuple[str, str]] = set()
        self._windows_over_limit = 0
        self._longest_us = max(lengths.values()) * US
        self._tolerance_us = round(settings.metrics_clock_tolerance_seconds * US)
        self.outside_windows = {TOO_OLD: 0, IN_THE_FUTURE: 0}
        self.slot_seconds = gcd(*(bucket_seconds(length) for length in lengths.values()))
        """The length of the slots in which ``measure`` counts ends of attempts. The windows need no shorter ones."""

    def add(self, measures: Measures) -> None:
        """Add the measures of one batch."""
        with self.lock:
            self._add_events(measures)
            self._add_attempts(measures)
            self._add_to_windows(measures)
            self._add_spreads(measures)

    def add_undecodable(self, reason: str) -> None:
        """Count a message that is not a valid event."""
        with self.lock:
            self.undecodable[reason] = self.undecodable.get(reason, 0) + 1

    def windows(self) -> dict[str, dict[tuple[str, str, str], int]]:
        """Return the attempts that finished in each window as of now, by window name and (namespace, source, outcome)."""
        now = int(self._clock())
        for window in self._windows.values():
            window.advance(now)
        return {name: window.counts() for name, window in self._windows.items()}

    def covered_seconds(self) -> dict[str, float]:
        """Return how many seconds of each window this process has been running: its counts cover only that part."""
        age = max(0.0, self._clock() - self.started_at)
        return {name: min(float(window.length_seconds), age) for name, window in self._windows.items()}

    def sets_over_limit(self) -> dict[str, int]:
        """Return how much each metric counted as `other` because it had too many label sets."""
        return {
            "jobtrail_events": self.events.over_limit,
            "jobtrail_attempts": self.attempts.over_limit,
            "jobtrail_failures": self.failures.over_limit,
            "jobtrail_attempt_duration_seconds": self.durations.over_limit,
            "jobtrail_queue_wait_seconds": self.queue_waits.over_limit,
            "jobtrail_window_attempts": self._windows_over_limit,
        }

    def _add_events(self, measures: Measures) -> None:
        for (namespace, state), count in measures.events.items():
            shown = self._counted("namespace", self._namespace, namespace, count)
            self.events.add((shown, state), (OTHER, state), count)
        now_us = round(self._clock() * US)
        times = measures.occurred_at
        first = bisect_left(times, now_us - self._longest_us)
        last = bisect_right(times, now_us + self._tolerance_us)
        self.outside_windows[TOO_OLD] += first
        self.outside_windows[IN_THE_FUTURE] += len(times) - last
        self.delays.add([max(0, now_us - at) for at in reversed(times[first:last])])

    def _add_attempts(self, measures: Measures) -> None:
        for (namespace, source, worker, queue, outcome), count in measures.attempts.items():
            shown = self._namespace.show(namespace)
            labels = (
                shown,
                self._counted("source", self._source, source, count),
                self._counted("worker", self._worker, worker, count),
                self._counted("queue", self._queue, queue, count),
                outcome,
            )
            self.attempts.add(labels, (shown, OTHER, OTHER, OTHER, outcome), count)
        for (namespace, source, worker, category), count in measures.failures.items():
            shown = self._namespace.show(namespace)
            failure = (
                shown,
                self._source.show(source),
                self._worker.show(worker),
                self._counted("category", self._category, category, count),
            )
            self.failures.add(failure, (shown, OTHER, OTHER, OTHER), count)

    def _add_to_windows(self, measures: Measures) -> None:
        self.windows()
        now_us = round(self._clock() * US)
        earliest, latest = (now_us - self._longest_us) // US, (now_us + self._tolerance_us) // US
        for (namespace, source, outcome, second), count in measures.finished.items():
            if earliest <= second <= latest:
                pair = self._window_pair(namespace, source, count)
                for window in self._windows.values():
                    window.add(second, (*pair, outcome), count)

    def _window_pair(self, namespace: str, source: str, count: int) -> tuple[str, str]:
        pair = (self._namespace.show(namespace), self._source.show(source))
        if pair not in self._window_pairs:
            if len(self._window_pairs) >= self._most_window_pairs:
                self._windows_over_limit += count
                return (pair[0], OTHER)
            self._window_pairs.add(pair)
        return pair

    def _add_spreads(self, measures: Measures) -> None:
        for (namespace, worker, outcome), durations in measures.durations.items():
            shown = self._namespace.show(namespace)
            # Start and end are by one host's clock, so an attempt never ends before it began.
            plausible = self._plausible("duration", durations, least_us=0)
            if plausible:
                labels = (shown, self._worker.show(worker), outcome)
                self.durations.add(labels, (shown, OTHER, outcome), plausible)
        for (namespace, queue), waits in measures.queue_waits.items():
            shown = self._namespace.show(namespace)
            # Two hosts' clocks may differ: a job that began a little before it was enqueued did not wait.
            plausible = self._plausible("queue_wait", waits, least_us=-AHEAD_US)
            if plausible:
                self.queue_waits.add((shown, self._queue.show(queue)), (shown, OTHER), plausible)

    def _counted(self, label: str, values: LabelValues, value: str, count: int) -> str:
        shown = values.show(value)
        if shown is OTHER and value != OTHER:
            self.values_over_limit[label] += count
        return shown

    def _plausible(self, what: str, values_us: list[int], least_us: int) -> list[int]:
        """Return the possible values in order, those from ``least_us`` to 0 as 0. Count the impossible ones."""
        ascending = sorted(values_us)
        first = bisect_left(ascending, least_us)
        end = bisect_right(ascending, LONGEST_MEASURED_US)
        self.implausible[what, NEGATIVE] += first
        self.implausible[what, TOO_LONG] += len(ascending) - end
        kept = ascending[first:end]
        return [max(0, value) for value in kept] if kept and kept[0] < 0 else kept
