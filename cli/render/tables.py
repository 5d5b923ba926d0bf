"""Formats tables for a terminal. Cells are made safe here, so that no caller can forget it."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from cli.render.safe_text import safe, safe_name

# Columns that hold names and ids.
_NAMES = frozenset({"job", "root", "worker", "parent"})


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> str:
    """Return a table of rows under headers; the columns named in ``numbers`` are aligned to the right."""
    escapes = [safe_name if header in _NAMES else safe for header in headers]
    return tabulate(
        [[escape(value) for escape, value in zip(escapes, row, strict=True)] for row in rows],
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if header in numbers else "left" for header in headers],
    )
