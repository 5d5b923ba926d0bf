"""The demo's folder, and its clean-up: no process and no file is left behind.

Ctrl-C, SIGTERM and a closed terminal raise Stopped in the running code. From then on, and whenever the demo ends,
further signals are ignored, because they must not interrupt the clean-up.
"""

import contextlib
import os
import shlex
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from demo.errors import Stopped
from servers.folders import make_folder, remove_folder

ENVIRONMENT_FILE = "env"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yield a folder for the block. At its end, remove the folder and kill all processes started in the block."""
    for number in _SIGNALS:
        signal.signal(number, _stop)
    directory = make_folder("jobtrail-demo-")
    try:
        yield directory
    finally:
        ignore_signals()
        _end_all_children()
        remove_folder(directory, ignore_errors=True)


def ignore_signals() -> None:
    """Ignore further signals, because the demo is ending anyway."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def forget_settings() -> None:
    """Remove jobtrail's settings from this process's environment: they belong to another broker and database.

    The settings of tests stay: JOBTRAIL_TEST_CACHE says where the real broker's programs are.
    """
    for name in [name for name in os.environ if name.startswith("JOBTRAIL_")]:
        if not name.startswith("JOBTRAIL_TEST_"):
            del os.environ[name]


def write_environment(directory: Path, settings: Mapping[str, str], programs: Path) -> Path:
    """Write the settings to a file that a shell can source; it also puts the folder of `jobtrail` on PATH."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    path = directory / ENVIRONMENT_FILE
    path.write_text("\n".join([*lines, f'export PATH={shlex.quote(str(programs))}:"$PATH"', ""]))
    return path


def read_environment(directory: Path) -> dict[str, str]:
    """Return the settings that `write_environment` wrote."""
    words = [shlex.split(line) for line in (directory / ENVIRONMENT_FILE).read_text().splitlines()]
    pairs = (assignment.partition("=") for _, assignment in words)
    return {name: value for name, _, value in pairs if name != "PATH"}


def _stop(signal_number: int, frame: object) -> None:
    ignore_signals()
    raise Stopped(signal_number)


def _end_all_children() -> None:
    """Kill the processes that are left: they were being started when a signal came."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=10)
