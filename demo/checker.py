"""Compares the answers of `jobtrail` with the workers' own notes: `python -m demo.checker DIRECTORY`.

A separate program that believes only the workers' tallies and the recorded file. It asks jobtrail as any user would,
by its command with --json. It prints each comparison, and exits with 0 only if all are equal.
"""

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from demo import expectations, tally
from demo.errors import DemoError
from demo.expectations import Jobs
from demo.screen import Screen
from demo.stack import PROGRAMS, ROOT
from demo.workplace import read_environment

IMPORTED_FILE = "imported.json"
_ALL = ("--limit", "100000")
_DIFFERENCES_SHOWN = 10
_DIFFERENCE_WIDTH = 500


class Comparison(NamedTuple):
    """An answer of jobtrail and the expected one."""

    what: str
    expected: object
    got: object


Ask = Callable[..., Any]


def compare(jobs: Jobs, ask: Ask) -> Iterator[Comparison]:
    """Compare every answer about the run of these jobs; ``ask`` returns the answer of a `jobtrail` command."""
    (root,) = (job.job_id for job in jobs.values() if not job.parent)
    stages = ask("lineage", "stats", root)["stages"]
    said = {(stage["depth"], stage["worker"]): stage for stage in stages}
    yield Comparison(
        "stats: jobs by stage and state",
        expectations.stages(jobs),
        {stage: known["states"] for stage, known in said.items()},
    )
    yield Comparison(
        "stats: how many were expected",
        expectations.announced(jobs),
        {stage: known["expected"] for stage, known in said.items() if known["expected"] is not None},
    )
    yield Comparison(
        "stats: which stages are stuck",
        expectations.stuck(jobs),
        {stage for stage, known in said.items() if known["stuck"] is not None},
    )
    yield from _compare_jobs(jobs, root, ask)
    gaps = ask("lineage", "gaps", root, *_ALL)
    yield Comparison(
        "gaps: announced and not spawned",
        expectations.missing(jobs),
        {(gap["job_id"], gap["child_worker"]): (gap["expected"], gap["spawned"]) for gap in gaps["missing"]},
    )
    yield Comparison(
        "gaps: completed without children",
        expectations.childless(jobs),
        {(gap["worker"], gap["child_worker"]): frozenset(gap["job_ids"]) for gap in gaps["childless"]},
    )
    runs = {run["root"]: run for run in ask("runs", "list", *_ALL)}
    expected = expectations.run(jobs)
    run = runs.get(root, {})
    yield Comparison("runs: the run in numbers", expected, {name: run.get(name) for name in expected})
    yield from _compare_failures(jobs, run.get("source", ""), ask)


def _compare_jobs(jobs: Jobs, root: str, ask: Ask) -> Iterator[Comparison]:
    rows = ask("lineage", "jobs", root, *_ALL)["jobs"]
    yield Comparison(
        "jobs: each one's state, parent and error",
        expectations.rows(jobs),
        {
            row["job_id"]: (
                row["worker"],
                row["state"],
                row["parent_job_id"] or "",
                row["external_id"] or "",
                row["error_category"] or "",
            )
            for row in rows
        },
    )
    deepest = max(jobs.values(), key=lambda job: (expectations.depth(jobs, job), job.job_id))
    above = ask("lineage", "ancestors", deepest.job_id)["ancestors"]
    path = []
    while deepest.parent:
        deepest = jobs[deepest.parent]
        path.append(deepest.job_id)
    yield Comparison(
        "ancestors: the path of a job", path, [up["job_id"] for up in sorted(above, key=_distance)]
    )


def _distance(ancestor: dict[str, Any]) -> int:
    return int(ancestor["distance"])


def _compare_failures(jobs: Jobs, source: str, ask: Ask) -> Iterator[Comparison]:
    groups = ask("failures", "list", "--source", source, *_ALL)
    expected = expectations.groups(jobs)
    yield Comparison(
        "failures: groups, times, jobs",
        [(source, group.category, group.error_type, group.jobs, group.jobs) for group in expected],
        sorted(
            (
                said["source"],
                said["category"],
                said["error_type"],
                said["occurrence_count"],
                said["job_count"],
            )
            for said in groups
        ),
    )
    samples = {sample for said in groups for sample in said["sample_external_ids"]}
    unexpected = samples - {external_id for group in expected for external_id in group.external_ids}
    yield Comparison("failures: samples are of failed jobs", (True, set()), (bool(samples), unexpected))
    numbers = expectations.run(jobs)
    yield Comparison(
        "sources: completed and discarded",
        [(source, numbers["completed"], numbers["discarded"])],
        [
            (said["source"], said["completed"], said["discarded"])
            for said in ask("sources")["sources"]
            if said["source"] == source
        ],
    )


def compare_import(root: str, file: Path, ask: Ask) -> Iterator[Comparison]:
    """Compare jobtrail's answers about an imported run with the recorded file."""
    content = file.read_bytes()
    document = json.loads(gzip.decompress(content) if file.suffix == ".gz" else content)
    programs = expectations.tasks_by_program(document)
    stages = ask("lineage", "stats", root)["stages"]
    yield Comparison(
        "import: completed tasks by program",
        {program: {"completed": count} for program, count in programs.items()},
        {stage["worker"]: stage["states"] for stage in stages if stage["depth"] > 0},
    )
    task, before = expectations.longest_history(document)
    above = ask("lineage", "ancestors", f"{root}/{task}", "--edges", "depends_on")["ancestors"]
    yield Comparison(
        "import: all that one task waited for",
        {f"{root}/{other}" for other in before},
        {up["job_id"] for up in above},
    )


def asker(environment: dict[str, str]) -> Ask:
    """Return a function that runs a `jobtrail` command with --json and returns its answer."""

    def ask(*words: str) -> Any:
        answer = subprocess.run(
            [str(PROGRAMS / "jobtrail"), *words, "--json"],
            env={**os.environ, **environment},
            cwd=ROOT,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        try:
            return json.loads(answer.stdout)
        except ValueError:
            raise DemoError(
                f"`jobtrail {' '.join(words)}` ended with {answer.returncode}: {answer.stderr.strip()}"
            ) from None

    return ask


def _all(comparisons: Iterator[Comparison]) -> list[Comparison]:
    """Return all comparisons; when jobtrail does not answer, the last one says so, and fails."""
    found: list[Comparison] = []
    try:
        found.extend(comparisons)
    except DemoError as error:
        found.append(Comparison("an answer to each question", "there is one", str(error)))
    return found


def differences(expected: object, got: object) -> list[str]:
    """Return lines that say where two values differ; for dictionaries, the entries that differ."""
    if isinstance(expected, dict) and isinstance(got, dict):
        keys = sorted({key for key in (*expected, *got) if expected.get(key) != got.get(key)}, key=str)
        lines = [f"{key}: the workers say {expected.get(key)}, jobtrail says {got.get(key)}" for key in keys]
        more = len(lines) - _DIFFERENCES_SHOWN
        return lines[:_DIFFERENCES_SHOWN] + ([f"… and {more} more"] if more > 0 else [])
    return [f"the workers say {expected}, jobtrail says {got}"]


def main(directory: Path) -> int:
    """Compare everything and print it; return the exit status."""
    screen = Screen()
    ask = asker(read_environment(directory))
    jobs = tally.read(directory / "tally")
    imported = json.loads((directory / IMPORTED_FILE).read_text())
    # The command is slow to start, so the two runs are checked at the same time.
    with ThreadPoolExecutor(2) as pool:
        about_run = pool.submit(lambda: _all(compare(jobs, ask)))
        about_import = pool.submit(
            lambda: _all(compare_import(imported["root"], Path(imported["file"]), ask))
        )
        comparisons = about_run.result() + about_import.result()
    wrong = [one for one in comparisons if one.expected != one.got]
    for one in comparisons:
        if one not in wrong:
            screen.done(one.what)
            continue
        screen.failed(one.what)
        for line in differences(one.expected, one.got):
            screen.say(f"      {' '.join(line.split())[:_DIFFERENCE_WIDTH]}")
    agreeing = len(comparisons) - len(wrong)
    screen.say(
        f"{agreeing} of {len(comparisons)} answers about {len(jobs):,} jobs are what the workers wrote down."
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
