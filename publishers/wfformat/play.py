"""Replay files through the SDK and the broker: check all of them, then publish each run's events at their time.

Each file is read twice, once to check it and once to publish it, so that only one file at a time is in memory. A
file that changes in between is refused.
"""

import math
import re
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from publishers.wfformat.events import check_identity, count_events, events
from publishers.wfformat.moments import FORMS
from publishers.wfformat.plan import makespan_us, timings
from publishers.wfformat.read import Trace, read
from publishers.wfformat.sending import Sending
from schemas.contract import OCCURRED_MAX, OCCURRED_MIN
from schemas.errors import InputError
from settings.broker import BrokerSettings

_SECOND_US = 1_000_000
_PROGRESS_EVERY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """One file, imported as one run. The broker has acknowledged all of its ``events``."""

    root_job_id: str
    path: Path
    workflow: str
    tasks: int
    edges: int
    events: int
    makespan_seconds: float


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The runs that an import published, in the order of its files."""

    namespace: str
    runs: tuple[ImportedRun, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the import of one run is. ``at_seconds`` is the time reached in the recorded execution."""

    run: ImportedRun
    published: int
    at_seconds: float


def run(
    files: Sequence[Path],
    namespace: str,
    *,
    speed: float | None = None,
    instant: bool = False,
    original_times: bool = False,
    run_id: str | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    broker: BrokerSettings | None = None,
    acknowledged_within_seconds: float = 30.0,
) -> ImportReport:
    """Replay recorded executions, one file after the other, each as its own run.

    ``speed`` is how many times as fast as recorded the replay is (default 1). ``instant`` does not wait at all.
    Neither changes the times in the events: they are the recorded ones, shifted so that a run ends when its replay
    does. With ``original_times`` they count from the file's ``executedAt``. ``run_id`` names the run of a single
    file; without it every import is a new run. ``progress`` is called about once a second, and at the start and the
    end of each run.

    Configures the SDK of this process for ``broker`` (default: the settings). The broker has
    ``acknowledged_within_seconds`` to acknowledge what is in the SDK's queue; that includes a restart of the
    broker. Raises InputError, before anything is published, when an argument or a file cannot be used. Raises
    BrokerError when the broker has not acknowledged every event.
    """
    pace = _check_arguments(files, speed=speed, instant=instant, run_id=run_id)
    checked = [_check(path, namespace, run_id, pace, original_times=original_times) for path in files]
    sending = Sending(broker or BrokerSettings.load(), namespace, acknowledged_within_seconds)
    for planned, sha256 in checked:
        trace = read(planned.path)
        if trace.sha256 != sha256:
            raise InputError(f"{planned.path}: the file changed during the import: import it again.")
        start_us = _start_us(trace, planned, pace, original_times=original_times)
        _play(trace, planned, namespace, start_us, pace, sending, progress)
    return ImportReport(namespace, tuple(planned for planned, _ in checked))


def new_run_id(path: Path) -> str:
    """Return the file's name and eight random digits, so that importing a file twice gives two runs."""
    stem = re.sub(r"[^\w.-]+", "-", path.name.removesuffix(".gz").removesuffix(".json"), flags=re.ASCII)
    return f"{stem}-{secrets.token_hex(4)}"


def _check_arguments(
    files: Sequence[Path], *, speed: float | None, instant: bool, run_id: str | None
) -> float:
    """Return how many recorded seconds pass in one second of the replay; infinite when it does not wait."""
    if not files:
        raise InputError("no file to import: give at least one.")
    if instant and speed is not None:
        raise InputError(f"--speed {speed:g} and --instant exclude each other: give only one of them.")
    if speed is not None and not (math.isfinite(speed) and speed > 0):
        raise InputError(f"expected --speed to be a number greater than 0, got {speed:g}.")
    if run_id is not None and len(files) > 1:
        raise InputError(
            f"--run-id {run_id!r} names one run, but there are {len(files)} files: "
            "import each file with its own --run-id."
        )
    return math.inf if instant else speed or 1.0


def _check(
    path: Path, namespace: str, run_id: str | None, pace: float, *, original_times: bool
) -> tuple[ImportedRun, str]:
    """Check one file. Return the run it will be, and the SHA-256 of its content. Raises InputError."""
    trace = read(path)
    planned = ImportedRun(
        root_job_id=run_id if run_id is not None else new_run_id(path),
        path=path,
        workflow=trace.workflow,
        tasks=len(trace.tasks),
        edges=trace.edges,
        events=count_events(trace),
        makespan_seconds=makespan_us(timings(trace.tasks)) / _SECOND_US,
    )
    check_identity(namespace, planned.root_job_id, trace)
    _start_us(trace, planned, pace, original_times=original_times)
    return planned, trace.sha256


def _start_us(trace: Trace, planned: ImportedRun, pace: float, *, original_times: bool) -> int:
    """Return the time of the run's first event, in microseconds since 1970 UTC. Raises InputError."""
    makespan = round(planned.makespan_seconds * _SECOND_US)
    if original_times:
        if trace.executed_at is None:
            raise InputError(
                f"{trace.path}: --original-times needs executedAt, expected as in {FORMS}; "
                f"got {trace.executed_at_text[:60]!r}. Import without --original-times: the run then ends now."
            )
        start = round(trace.executed_at.timestamp()) * _SECOND_US + trace.executed_at.microsecond
    else:
        now = time.time_ns() // 1_000
        start = min(now, now + round(makespan / pace) - makespan)  # no event is in the future
    if start < OCCURRED_MIN or start + makespan > OCCURRED_MAX:
        when = f"from {trace.executed_at_text}" if original_times else "that ends now"
        raise InputError(
            f"{trace.path}: expected times from 2000 to 2099, the years an event may have, but a run of "
            f"{planned.makespan_seconds:.0f} s {when} is not within them."
        )
    if original_times and start + makespan > time.time_ns() // 1_000:
        raise InputError(
            f"{trace.path}: executedAt is {trace.executed_at_text[:60]!r}: a run of {planned.makespan_seconds:.0f} s from then on "
            "ends in the future. Correct it, or import without --original-times: the run then ends now."
        )
    return start


def _play(
    trace: Trace,
    planned: ImportedRun,
    namespace: str,
    start_us: int,
    pace: float,
    sending: Sending,
    progress: Callable[[Progress], None],
) -> None:
    """Send each event at its time, and wait until the broker has acknowledged all of them. Raises BrokerError."""
    began = reported = time.monotonic()
    progress(Progress(planned, 0, 0.0))
    for number, due in enumerate(events(trace, namespace, planned.root_job_id, start_us)):
        due_at = began + due.at_us / _SECOND_US / pace
        while (now := time.monotonic()) < due_at or now >= reported + _PROGRESS_EVERY_SECONDS:
            if now >= reported + _PROGRESS_EVERY_SECONDS:
                reported = now
                progress(Progress(planned, number, min(due.at_us / _SECOND_US, (now - began) * pace)))
            else:
                time.sleep(min(due_at, reported + _PROGRESS_EVERY_SECONDS) - now)
        sending.send(due.fields)
    sending.finish(str(trace.path))
    progress(Progress(planned, planned.events, planned.makespan_seconds))
