"""Tables for a terminal. Cells are made safe here, so no caller can forget it."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from cli.render.safe_text import safe, safe_name

# Columns that hold names and ids.
_NAMES = frozenset({"job", "root", "worker", "parent"})


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> str:
    """Rows under headers; the columns named in ``numbers`` stand to the right."""
    shown = [safe_name if header in _NAMES else safe for header in headers]
    return tabulate(
        [[cell(value) for cell, value in zip(shown, row, strict=True)] for row in rows],
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if header in numbers else "left" for header in headers],
    )
