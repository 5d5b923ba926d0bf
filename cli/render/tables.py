"""Formats tables for a terminal. Cells are made safe here, so that no caller can forget it."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from tabulate import tabulate

from cli.render.safe_text import safe, safe_name

# Columns that hold names and ids.
_NAMES = frozenset({"job", "root", "worker", "parent"})
# Columns that hold numbers with our own words, such as the count of each state: nothing of them is cut.
_COUNTS = frozenset({"states"})
_COUNTS_WIDTH = 300


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> str:
    """Return a table of rows under headers; the columns named in ``numbers`` are aligned to the right."""
    escapes = [_escape(header) for header in headers]
    return tabulate(
        [[escape(value) for escape, value in zip(escapes, row, strict=True)] for row in rows],
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if header in numbers else "left" for header in headers],
    )


def _escape(header: str) -> Callable[[object], str]:
    """Return how the cells of a column are made safe."""
    if header in _COUNTS:
        return partial(safe, width=_COUNTS_WIDTH)
    return safe_name if header in _NAMES else safe
