"""Runs the long form of the fault matrix: `make faults`, or `python -m tests.faults --help`.

Every finished scenario is kept in build/faults/SEED, so that an interrupted run continues from there; --restart begins
again. It ends with 0 if every table of every scenario is right and every control run was caught, else with 1.
"""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from servers import lifeline
from testing.machine import machine
from tests.faults.plan import Plan
from tests.faults.report import load, markdown, put_between_marks, save, totals
from tests.faults.runs import LEAST, Control, controls, long_form, more
from tests.faults.scenario import Outcome, play
from tests.faults.site import Servers, can_mount
from tests.law.mutations import broken_copy

RESULTS = Path(__file__).parents[2] / "build" / "faults"
DOCS = Path(__file__).parents[2] / "docs" / "faults.md"
ROUNDS_MORE = 3


def main() -> int:
    given = _arguments()
    lifeline.begin()
    # So servers, their data and the small disk are removed also after SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    folder = RESULTS / str(given.seed)
    if given.restart:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    print(f"seed {given.seed}; results and logs of what fails are in {folder}", file=sys.stderr)
    with Servers() as servers:
        run = _Run(servers, folder, given.lanes)
        run.play_all(long_form(given.seed, given.only))
        if not given.only:
            run.play_missing_faults(given.seed)
        if not given.without_controls:
            run.play_controls(controls(given.seed, given.only))
    text = markdown(run.outcomes, run.controls, seed=given.seed, machine=machine())
    (folder / "report.md").write_text(text)
    if given.docs:
        put_between_marks(DOCS, text)
    print(text)
    holds = all(one.holds for one in run.outcomes)
    caught = not any(outcome.holds for _, outcome in run.controls)
    return 0 if holds and caught else 1


class _Run:
    """The scenarios that were played, in this run and in interrupted ones."""

    def __init__(self, servers: Servers, folder: Path, lanes: int) -> None:
        self._servers = servers
        self._folder = folder
        self._lanes = lanes
        self._began = time.monotonic()
        self.outcomes = load(folder / "results.jsonl")
        self.controls: list[tuple[str, Outcome]] = []

    def play_all(self, plans: Sequence[Plan]) -> None:
        """Play several scenarios at once if they may share the servers, the others one by one."""
        known = {one.name for one in self.outcomes}
        plans = [one for one in plans if one.name not in known]
        if any(one.needs_small_disk for one in plans) and not can_mount():
            self._say(
                'no small file system can be mounted here (it needs root): no fault "disk full" is tried'
            )
            plans = [one for one in plans if not one.needs_small_disk]
        with ThreadPoolExecutor(self._lanes) as lanes:
            for outcome in lanes.map(self._play, [one for one in plans if not one.exclusive]):
                self._keep(outcome)
        for one in plans:
            if one.exclusive:
                self._keep(self._play(one))

    def play_missing_faults(self, seed: int) -> None:
        """Repeat faults that had no effect, in further scenarios."""
        for number in range(1, ROUNDS_MORE + 1):
            found = totals(self.outcomes)
            lacking = {kind: least - found[kind] for kind, least in LEAST.items() if found[kind] < least}
            if lacking:
                self.play_all(more(seed, number, lacking))

    def play_controls(self, wanted: Sequence[Control]) -> None:
        """Play scenarios with a deliberate break of the law; each must be caught."""
        known = {one.name: one for one in load(self._folder / "controls.jsonl")}
        for control in wanted:
            outcome = known.get(control.plan.name)
            if outcome is None:
                with broken_copy(control.broken) as copy:
                    environment = {"PYTHONPATH": f"{copy}", "PYTHONDONTWRITEBYTECODE": "1"}
                    outcome = self._play(control.plan, environment)
                save(outcome, self._folder / "controls.jsonl")
            self._say(f"{control.broken.name}: {'SURVIVED' if outcome.holds else 'caught'}")
            self.controls.append((control.broken.name, outcome))

    def _play(self, plan: Plan, environment: dict[str, str] | None = None) -> Outcome:
        folder = self._folder / plan.name
        outcome = play(plan, self._servers, folder, self._say, environment)
        if outcome.holds or environment:
            shutil.rmtree(folder)
        self._say(f"{plan.name}: {'holds' if outcome.holds else 'FAILED'} after {outcome.seconds:.0f} s")
        return outcome

    def _keep(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        save(outcome, self._folder / "results.jsonl")

    def _say(self, line: str) -> None:
        print(f"{time.monotonic() - self._began:7.1f} {line}", file=sys.stderr, flush=True)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make faults", description="Inject faults at every step, then compare every table."
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--only",
        default="",
        metavar="PATTERN",
        help="only scenarios whose name matches, or else only kinds of faults that match",
    )
    parser.add_argument(
        "--lanes",
        type=int,
        default=4,
        help="how many scenarios run at once, if they may share the servers",
    )
    parser.add_argument(
        "--restart", action="store_true", help="discard the results of earlier runs with this seed"
    )
    parser.add_argument("--docs", action="store_true", help="also put the report into docs/faults.md")
    parser.add_argument("--without-controls", action="store_true", help="do not break the law on purpose")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
