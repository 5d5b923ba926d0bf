"""Draws the results as bars in plain SVG, readable on light and on dark pages. Rectangles and text need no library.

`python -m bench.picture RESULTS.json PICTURE.svg` draws the results that `--json` kept. Every chart starts at 0 and
has its own scale; a dashed line is the aim.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from bench.frame import number

WIDTH = 920
_LABELS = 310
"""Width of the label column."""
BAR_LENGTH = 250
"""Length of the longest bar."""
_VALUES = 72
"""Width of the value column after the longest bar; the notes have the rest."""
_ROW = 24
_BAR = 15
_TITLE = 44
_MARGIN = 16

# Colours by purpose. A picture does not know the page around it, but can follow the colour scheme of the reader's
# system.
_STYLE = """
  text { font: 13px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; }
  .paper { fill: #ffffff; }
  .title { font-weight: 600; font-size: 15px; }
  .quiet { fill: #59636e; font-size: 12px; }
  .ours { fill: #0969da; }
  .other { fill: #8c959f; }
  .aim { stroke: #bc4c00; stroke-width: 2; stroke-dasharray: 4 3; }
  .aim-text { fill: #bc4c00; font-size: 12px; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .paper { fill: #0d1117; }
    .quiet { fill: #9198a1; }
    .ours { fill: #4493f8; }
    .other { fill: #6e7681; }
    .aim { stroke: #f0883e; }
    .aim-text { fill: #f0883e; }
  }
"""


def draw(results: dict[str, Any]) -> str:
    """Return the SVG of one bench run's results: every chart of every part, and the machine below."""
    charts = [chart for part in results["parts"].values() for chart in part["charts"]]
    shapes: list[str] = []
    top = _MARGIN
    for chart in charts:
        shapes += _chart(chart, top)
        top += _TITLE + _ROW * len(chart["bars"]) + _MARGIN
    machine = results["machine"]
    below = [
        f"{machine['cores']}, {machine['memory']}, {machine['system']}",
        f"{machine['servers']}, {machine['packages']}; {results['made_at']}",
    ]
    for line in below:
        top += 18
        shapes.append(_text(_MARGIN, top, line, "quiet"))
    height = top + _MARGIN
    titles = ", ".join(chart["title"] for chart in charts)
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
            f'role="img" aria-label="{escape(titles, {chr(34): "&quot;"})}">',
            f"<style>{_STYLE}</style>",
            f'<rect class="paper" width="{WIDTH}" height="{height}" rx="6"/>',
            *shapes,
            "</svg>\n",
        ]
    )


def _chart(chart: dict[str, Any], top: int) -> Iterator[str]:
    bars, mark = chart["bars"], chart["mark"]
    yield _text(_MARGIN, top + 18, chart["title"], "title")
    longest = max([bar["value"] for bar in bars] + ([mark] if mark else []), default=0) or 1
    left = _MARGIN + _LABELS
    row = top + _TITLE
    yield _text(left, top + 18, chart["unit"], "quiet")
    for place, bar in enumerate(bars):
        middle = row + place * _ROW + _BAR - 3
        length = bar["value"] / longest * BAR_LENGTH
        yield _text(left - 8, middle, bar["label"], "label", anchor="end")
        kind = "ours" if bar["ours"] else "other"
        yield (
            f'<rect class="{kind}" x="{left}" y="{row + place * _ROW}" width="{max(length, 1):.1f}" height="{_BAR}" rx="2"/>'
        )
        yield _text(left + length + 8, middle, number(bar["value"]), "value")
        yield _text(left + BAR_LENGTH + _VALUES, middle, bar["note"], "quiet")
    if mark:
        at = left + mark / longest * BAR_LENGTH
        yield f'<line class="aim" x1="{at:.1f}" x2="{at:.1f}" y1="{row - 6}" y2="{row + _ROW * len(bars) - 3}"/>'
        yield _text(at, row - 10, "aim", "aim-text", anchor="middle")


def _text(x: float, y: float, said: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(said)}</text>'


def main() -> None:
    """Draw kept results."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m bench.picture RESULTS.json PICTURE.svg")
    source, target = map(Path, sys.argv[1:])
    target.write_text(draw(json.loads(source.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    main()
