"""`make bench`: runs every measurement and prints the results, their aims, and the machine.

Without options it takes some 15 minutes on two cores. --only runs some parts; --list names all parts. --json keeps the
results as data, and --picture draws them; `python -m bench.picture RESULTS.json PICTURE.svg` draws kept results.
"""

import argparse
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.frame import Options, say_on_stderr
from bench.parts import PARTS, Part
from bench.picture import draw
from servers import lifeline
from testing.machine import machine


def main() -> int:
    """Measure and print."""
    options = _parser().parse_args()
    if options.list:
        print("\n".join(f"{part.name:<12} {part.about}" for part in PARTS))
        return 0
    chosen = _chosen(options.only)
    lifeline.begin()
    how_much = Options(options.jobs, options.repeats, options.full)
    results: dict[str, Any] = {
        "machine": machine(),
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "parts": {},
    }
    print("\n".join(f"{name}: {value}" for name, value in results["machine"].items()), flush=True)
    for part in chosen:
        say_on_stderr(f"{part.name}: {part.about}")
        found = part.run(how_much, say_on_stderr)
        results["parts"][part.name] = found.as_json()
        print(f"\n{part.name}: {part.about}\n\n{found.table}", flush=True)
        if found.aims:
            print("\n" + "\n".join(aim.line() for aim in found.aims), flush=True)
        # After each part, so that earlier results are kept when a later part fails.
        _keep(results, options.json, options.picture)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    defaults = Options()
    parser.add_argument("--list", action="store_true", help="list the parts and exit")
    parser.add_argument("--only", metavar="NAME[,NAME]", help="run only these parts; default: all")
    parser.add_argument(
        "--jobs", type=int, default=defaults.jobs, help="jobs of the workload, 3.5 events each"
    )
    parser.add_argument(
        "--repeats", type=int, default=defaults.repeats, help="runs of each consumer; the median counts"
    )
    parser.add_argument(
        "--full",
        action="store_true",
        help="the long forms, which take an hour or two: 10⁷ stored jobs and so on",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the results as JSON")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="also draw the results as SVG")
    return parser


def _chosen(only: str | None) -> list[Part]:
    if only is None:
        return list(PARTS)
    names = only.split(",")
    unknown = set(names) - {part.name for part in PARTS}
    if unknown:
        sys.exit(
            f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(part.name for part in PARTS)}"
        )
    return [part for part in PARTS if part.name in names]


def _keep(results: dict[str, Any], data: Path | None, picture: Path | None) -> None:
    if data is not None:
        data.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if picture is not None:
        picture.write_text(draw(results), encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
