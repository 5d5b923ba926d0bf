"""Waits while the fleet works: imports a workflow meanwhile, shows the progress, ends when everything is stored."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from demo import expectations, tally
from demo.checker import IMPORTED_FILE
from demo.errors import DemoError, Late
from demo.fleet import NAMESPACE, Fleet
from demo.screen import Screen
from demo.stack import PROGRAMS, ROOT, Stack
from demo.watch import Watch, wait_until

TRACE_RUN = "montage-1"
_TRACE = ROOT / "demo" / "traces" / "montage-chameleon-2mass-025d-001.json.gz"
_TRACE_NAMESPACE = "montage"
_ANSWER, _LOG = "import.json", "import.log"

_WORK_TIMEOUT_SECONDS = 180
_STORE_TIMEOUT_SECONDS = 90
_ENDED = frozenset({"completed", "discarded"})


@dataclass(frozen=True)
class _Import:
    """A running `jobtrail import wfformat`."""

    process: subprocess.Popen[bytes]
    directory: Path

    def has_ended(self) -> bool:
        return self.process.poll() is not None

    def tasks(self) -> int:
        """Return the number of tasks that it printed as imported. Raises DemoError when it failed."""
        if self.process.returncode:
            said = (self.directory / _LOG).read_text(encoding="utf-8")
            raise DemoError(f"`jobtrail import` ended with status {self.process.returncode}: {said.strip()}")
        (run,) = json.loads((self.directory / _ANSWER).read_text(encoding="utf-8"))
        return int(run["tasks"])


def work(directory: Path, running: Stack, watching: Watch, workers: Fleet, screen: Screen) -> None:
    """Wait until the fleet is at rest, the import has ended, and jobtrail has stored and counted everything.

    Raises DemoError when a process fails or the work takes too long. When jobtrail takes too long to store it, this
    only prints that: the checker decides.
    """

    def wait(what: str, holds: Callable[[], bool], seconds: float) -> None:
        with screen.step(what):
            wait_until(holds, what, lambda: screen.now(_progress(watching, workers.root)), seconds)

    importing = _start_import(directory, running)
    wait("the fleet comes to rest", workers.is_at_rest, _WORK_TIMEOUT_SECONDS)
    wait("a recorded workflow is imported", importing.has_ended, _WORK_TIMEOUT_SECONDS)
    jobs, imported = tally.read(directory / "tally"), importing.tasks() + 1
    expected = expectations.stages(jobs)
    ended = imported + sum(job.state in _ENDED for job in jobs.values())

    def is_stored() -> bool:
        stages = watching.stages(NAMESPACE, workers.root)
        if {(stage.depth, stage.worker): stage.states for stage in stages} != expected:
            return False
        known = watching.stages(_TRACE_NAMESPACE, TRACE_RUN)
        return sum(stage.states.get("completed", 0) for stage in known) == imported

    def is_stuck() -> bool:
        return any(stage.stuck for stage in watching.stages(NAMESPACE, workers.root))

    try:
        wait("everything is in Postgres", is_stored, _STORE_TIMEOUT_SECONDS)
        wait(
            "everything is in the metrics",
            lambda: watching.attempts_counted() == ended,
            _STORE_TIMEOUT_SECONDS,
        )
        wait("the stuck stage shows", is_stuck, _STORE_TIMEOUT_SECONDS)
    except Late as late:
        screen.failed(str(late))


def _progress(watching: Watch, root: str) -> str:
    stages = watching.stages(NAMESPACE, root)
    ended = {
        stage.worker: sum(count for state, count in stage.states.items() if state in _ENDED)
        for stage in stages
    }
    words = [f"{stage.worker.removesuffix('Job')} {ended[stage.worker]}/{stage.total}" for stage in stages]
    return "  ".join([f"{watching.events_stored():,} events", *words])


def _start_import(directory: Path, running: Stack) -> _Import:
    what = {"root": TRACE_RUN, "file": str(_TRACE)}
    (directory / IMPORTED_FILE).write_text(json.dumps(what))
    command = [str(PROGRAMS / "jobtrail"), "import", "wfformat", str(_TRACE), "--namespace", _TRACE_NAMESPACE]
    with (directory / _ANSWER).open("wb") as answer, (directory / _LOG).open("wb") as log:
        process = subprocess.Popen(
            [*command, "--run-id", TRACE_RUN, "--instant", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=log,
            cwd=ROOT,
            env=running.environment(),
            start_new_session=True,
        )
    return _Import(process, directory)
