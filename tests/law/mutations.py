"""Runs the deliberate breaks of the code: ``python -m tests.law.mutations [--only PATTERN]``.

Each break is tried in a temporary copy of the checkout. A test that passes with a break proves less than it claims. The
exit status is 1 if a break survives, and 2 if the code that it replaces is gone. The tests first run on an unbroken copy,
because a test that fails there proves nothing.

``breaks.py`` has the breaks.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from servers.folders import temporary_folder
from servers.postgres import PostgresServer
from servers.postgres_programs import NEWEST, OLDEST
from tests.law.breaks import BREAKS, Break

ROOT = Path(__file__).parents[2]
EXAMPLES = os.environ.get("JOBTRAIL_LAW_EXAMPLES", "400")
LIMIT_SECONDS = 15 * 60
NOT_COPIED = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "__pycache__", "build", "*.egg-info"
)


class AnchorGoneError(Exception):
    """The text that a break replaces does not occur exactly once in its file."""


@dataclass(frozen=True)
class Verdict:
    """The test result of one copy: the failed tests, and the first error."""

    caught_by: tuple[str, ...]
    why: str
    seconds: float


def main() -> int:
    arguments = argparse.ArgumentParser(
        description="Break the code on purpose; every break must fail a test."
    )
    arguments.add_argument(
        "--only", default="", metavar="PATTERN", help="only the breaks whose name has a match for it"
    )
    only = arguments.parse_args().only
    chosen = [one for one in BREAKS if re.search(only, one.name)]
    try:
        for one in chosen:
            check_anchors(one)
    except AnchorGoneError as error:
        print(error, file=sys.stderr)
        return 2
    with PostgresServer(OLDEST) as oldest, PostgresServer(NEWEST) as newest:
        return _report(
            chosen, {f"JOBTRAIL_LAW_POSTGRES_{one.version}": one.url() for one in (oldest, newest)}
        )


def _report(chosen: list[Break], servers: dict[str, str]) -> int:
    for tests in dict.fromkeys(one.tests for one in chosen):
        unbroken = _try(Break("nothing broken", (), tests), servers)
        if unbroken.caught_by or unbroken.why:
            print(f"{tests} fail without any break: {unbroken.caught_by} {unbroken.why}", file=sys.stderr)
            return 2
        print(f"nothing broken: {' '.join(tests)} passes in {unbroken.seconds:.0f} s", flush=True)
    survivors = []
    for one in chosen:
        verdict = _try(one, servers)
        if not verdict.caught_by:
            survivors.append(one.name)
        print(_line(one, verdict), flush=True)
    print(
        f"{len(chosen) - len(survivors)} of {len(chosen)} breaks caught",
        *map("survived: {}".format, survivors),
        sep="\n",
    )
    return 1 if survivors else 0


def check_anchors(one: Break, root: Path = ROOT) -> None:
    """Raise AnchorGoneError unless every text to be replaced occurs exactly once in its file."""
    for edit in one.edits:
        path = root / edit.path
        count = path.read_text(encoding="utf-8").count(edit.old) if path.is_file() else 0
        if count != 1:
            raise AnchorGoneError(
                f"break {one.name!r}: expected the text below once in {edit.path}, found it {count} times. "
                f"The code has moved on: correct tests/law/breaks.py.\n{edit.old}"
            )


def _try(one: Break, servers: dict[str, str]) -> Verdict:
    started = time.monotonic()
    with broken_copy(one) as copy:
        missing = [test for test in one.tests if "/" in test and not (copy / test.split("::")[0]).exists()]
        if missing:
            return Verdict((), f"not there yet: {missing}", time.monotonic() - started)
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-x",
            "-rfE",
            "--tb=short",
            "-p",
            "no:cacheprovider",
            *one.tests,
        ]
        environment = {
            **os.environ,
            **servers,
            "JOBTRAIL_LAW_EXAMPLES": EXAMPLES,
            "JOBTRAIL_LAW_EXAMPLES_ON_THE_OLDEST": EXAMPLES,
            "JOBTRAIL_LAW_SHRINK": "0",
            "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'workers/src'}",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        try:
            ended = subprocess.run(
                command,
                cwd=copy,
                env=environment,
                capture_output=True,
                text=True,
                timeout=LIMIT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Verdict(one.tests, f"did not end within {LIMIT_SECONDS} s", LIMIT_SECONDS)
    caught_by = tuple(re.findall(r"^(?:FAILED|ERROR) (\S+)", ended.stdout, re.MULTILINE))
    why = "" if ended.returncode == 0 else _first_reason(ended.stdout + ended.stderr)
    return Verdict(caught_by, why, time.monotonic() - started)


def _first_reason(output: str) -> str:
    found = re.search(r"^[E |+]+\S*Error: *(.+)$", output, re.MULTILINE)
    return found[1] if found else output[-300:].replace("\n", " ")


def _line(one: Break, verdict: Verdict) -> str:
    caught = ", ".join(verdict.caught_by) or "SURVIVED"
    return f"{one.name}\n    {caught}  ({verdict.seconds:.0f} s)\n    {verdict.why[:160]}"


@contextmanager
def broken_copy(one: Break) -> Iterator[Path]:
    """Yield a copy of the checkout with this break; processes with it as PYTHONPATH run the broken code.

    Raises AnchorGoneError when the code to break is not there.
    """
    with temporary_folder("jobtrail-mutation-") as folder:
        copy = folder / "checkout"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        check_anchors(one, copy)
        for edit in one.edits:
            path = copy / edit.path
            path.write_text(path.read_text(encoding="utf-8").replace(edit.old, edit.new), encoding="utf-8")
        yield copy


if __name__ == "__main__":
    sys.exit(main())
