"""What every measurement is given and gives back: options in, a table, plain data, aims and charts out.

A module of a measurement has a function `run(options, say) -> Result`; `bench/parts.py` lists them. Nothing is measured
here, and nothing is printed but progress.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

Say = Callable[[str], None]
"""Where a measurement tells what it is doing."""


@dataclass(frozen=True)
class Options:
    """How much is measured. Every measurement reads what concerns it."""

    jobs: int = 100_000
    """Jobs of the workload that throughput is measured with, 3.5 events each (1,000,000 is all of it)."""
    repeats: int = 3
    """How often each consumer of the throughput is run; the median counts."""
    full: bool = False
    """The long forms: 10⁷ stored jobs, four replicas, 10⁷ events."""


@dataclass(frozen=True)
class Aim:
    """A number that was to be reached."""

    what: str
    measured: float
    wanted: float
    unit: str = ""
    at_most: bool = False
    """The number is to be at most what is wanted; else at least."""

    @property
    def reached(self) -> bool:
        return self.measured <= self.wanted if self.at_most else self.measured >= self.wanted

    def line(self) -> str:
        """What a person reads."""
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
    """Said behind the value: a share, a second number."""
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
    """What one measurement found."""

    table: str
    """What a person reads."""
    data: dict[str, Any]
    """The same as plain data, with every single run."""
    aims: list[Aim] = field(default_factory=list)
    charts: list[Chart] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain data, the table included."""
        aims = [{**asdict(aim), "reached": aim.reached} for aim in self.aims]
        return {
            "found": self.data,
            "aims": aims,
            "charts": [asdict(chart) for chart in self.charts],
            "table": self.table,
        }


def say_on_stderr(text: str) -> None:
    """Tell what is being done on standard error, so that the result stands alone on standard output."""
    print(text, file=sys.stderr, flush=True)


def number(value: float) -> str:
    """A number as a person writes it: thousands apart, few digits behind the point."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"
