"""The input and output of every measurement: options in; a table, plain data, aims and charts out.

The module of a measurement has a function `run(options, say) -> Result`; `bench/parts.py` lists them. Nothing is
measured here, and only progress is printed.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Say = Callable[[str], None]
"""Prints what a measurement is doing."""


@dataclass(frozen=True)
class Options:
    """How much to measure. Each measurement reads the options that it needs."""

    jobs: int = 100_000
    """Jobs in the throughput workload, 3.5 events each (1,000,000 is the whole workload)."""
    repeats: int = 3
    """How often each consumer runs for the throughput; the median counts."""
    full: bool = False
    """The long forms: 10⁷ stored jobs, four replicas, 10⁷ events."""


@dataclass(frozen=True)
class Aim:
    """A measured number and its target."""

    what: str
    measured: float
    wanted: float
    unit: str = ""
    at_most: bool = False
    """Whether the number may be at most ``wanted``; else at least."""

    @property
    def reached(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    def line(self) -> str:
        """Return the aim and its verdict as a line to read."""
        way = "at most" if self.at_most else "at least"
        verdict = "reached" if self.reached else "MISSED"
        return (
            f"{verdict:<8} {self.what}: {number(self.measured)}{self.unit}, "
            f"aim {way} {number(self.wanted)}{self.unit}"
        )


@dataclass(frozen=True)
class Bar:
    """One bar of a chart. ``ours`` is drawn in the colour of jobtrail, the others in grey."""

    label: str
    value: float
    note: str = ""
    """Text after the value: a share, or a second number."""
    ours: bool = True


@dataclass(frozen=True)
class Chart:
    """Bars of one unit, drawn from 0."""

    title: str
    unit: str
    bars: list[Bar]
    mark: float | None = None
    """A line across the bars: the aim, in the same unit."""


@dataclass(frozen=True)
class Result:
    """The results of one measurement."""

    table: str
    """The results as a table to read."""
    data: dict[str, Any]
    """The same as plain data, with every single run."""
    aims: list[Aim] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return everything as plain data, with the table."""
        aims = [{**asdict(aim), "reached": aim.reached} for aim in self.aims]
        return {
            "found": self.data,
            "aims": aims,
            "charts": [asdict(chart) for chart in self.charts],
            "table": self.table,
        }


def say_on_stderr(text: str) -> None:
    """Print progress on standard error, so that standard output has only the results."""
    print(text, file=sys.stderr, flush=True)


def number(value: float) -> str:
    """Return a number as a person writes it: thousands separated, few decimals."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
