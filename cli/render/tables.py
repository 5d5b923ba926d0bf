"""Tables for a terminal. Cells are made safe here, so no caller can forget it."""

from collections.abc import Iterable, Sequence

from tabulate import tabulate

from cli.render.safe_text import FIELD_WIDTH, safe


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], numbers: Sequence[str] = ()) -> str:
    """Rows under headers; the columns named in ``numbers`` stand to the right."""
    return tabulate(
        [[safe(cell, FIELD_WIDTH) for cell in row] for row in rows],
        headers=headers,
        tablefmt="simple",
        disable_numparse=True,
        colalign=["right" if header in numbers else "left" for header in headers],
    )
