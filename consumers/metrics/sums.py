"""Counters and histograms by labels, in bounded memory. Plain numbers; `page` exposes them to Prometheus.

A metric has a limited number of label sets. Beyond that, a value is added to another set that the caller names, so that
totals stay correct.
"""

from bisect import bisect_right
from itertools import pairwise
from typing import Generic, TypeVar

from consumers.metrics.measures import US

Labels = TypeVar("Labels", bound=tuple[str, ...])

DURATION_SECONDS = (0.01, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)
DELAY_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600)


class Sums(Generic[Labels]):
    """The values of one counter by its labels."""

    def __init__(self, most_sets: int) -> None:
        self._most_sets = most_sets
        self.values: dict[Labels, int] = {}
        self.over_limit = 0

    def add(self, labels: Labels, beyond: Labels, count: int) -> None:
        """Add to these labels, or to ``beyond`` when these are new and the limit is reached."""
        if labels not in self.values and len(self.values) >= self._most_sets:
            self.over_limit += count
            labels = beyond
        self.values[labels] = self.values.get(labels, 0) + count


class Spread:
    """One histogram: how many values are in each bucket (the last is for values beyond all bounds), and their sum."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        """``bounds``: upper bounds of the buckets, in seconds."""
        self.bounds = bounds
        self._bounds_us = [round(bound * US) for bound in bounds]
        self.counts = [0] * (len(bounds) + 1)
        self.sum_us = 0

    def add(self, ascending_us: list[int]) -> None:
        """Add values in ascending order."""
        ends = [0, *(bisect_right(ascending_us, bound) for bound in self._bounds_us), len(ascending_us)]
        for place, (start, end) in enumerate(pairwise(ends)):
            self.counts[place] += end - start
        self.sum_us += sum(ascending_us)


class Spreads(Generic[Labels]):
    """The histograms of one metric by their labels."""

    def __init__(self, most_sets: int) -> None:
        self._most_sets = most_sets
        self.values: dict[Labels, Spread] = {}
        self.over_limit = 0

    def add(self, labels: Labels, beyond: Labels, ascending_us: list[int]) -> None:
        """Add values in ascending order. Labels as in ``Sums``."""
        if labels not in self.values and len(self.values) >= self._most_sets:
            self.over_limit += len(ascending_us)
            labels = beyond
        spread = self.values.get(labels)
        if spread is None:
            spread = self.values[labels] = Spread(DURATION_SECONDS)
        spread.add(ascending_us)
