"""The demo's own folder, and the promise that nothing of the demo is left behind: no process, no file.

Ctrl-C, SIGTERM and a closed terminal raise Stopped where the demo stands; from then on, and in every orderly end, further
signals are ignored, because what cleans up must not be interrupted.
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
    """Yield a folder for the block. Afterwards it is gone, and so are all processes that were started in the block."""
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
    """From here on the end is near anyway."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def forget_settings() -> None:
    """Take settings of jobtrail out of this process's environment: they are of another broker and database.

    What is for tests stays: JOBTRAIL_TEST_CACHE says where the real broker's programs are.
    """
    for name in [name for name in os.environ if name.startswith("JOBTRAIL_")]:
        if not name.startswith("JOBTRAIL_TEST_"):
            del os.environ[name]


def write_environment(directory: Path, settings: Mapping[str, str], programs: Path) -> Path:
    """Write the settings to a file that a shell can source, with the folder of `jobtrail` put on PATH."""
    lines = [f"export {name}={shlex.quote(value)}" for name, value in settings.items()]
    path = directory / ENVIRONMENT_FILE
    path.write_text("\n".join([*lines, f'export PATH={shlex.quote(str(programs))}:"$PATH"', ""]))
    return path


def read_environment(directory: Path) -> dict[str, str]:
    """The settings that were written to that file."""
    words = [shlex.split(line) for line in (directory / ENVIRONMENT_FILE).read_text().splitlines()]
    pairs = (assignment.partition("=") for _, assignment in words)
    return {name: value for name, _, value in pairs if name != "PATH"}


def _stop(signal_number: int, frame: object) -> None:
    ignore_signals()
    raise Stopped(signal_number)


def _end_all_children() -> None:
    """What is still there now was started in the moment that a signal came."""
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            child.kill()
    psutil.wait_procs(children, timeout=10)
