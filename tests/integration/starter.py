"""A program that starts servers and then ends in the given way. `test_lifeline.py` runs it.

    python -m tests.integration.starter END KIND…

When everything has started, it prints one line of JSON: the ids of the processes that it started, and of their children.
Then it ends as END says; with `wait` it waits to be ended from outside.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path
from typing import NoReturn
from unittest import mock

import psutil

from servers import lifeline, postgres, processes
from servers.docker import DockerPulsar
from servers.folders import temporary_folder
from servers.postgres import PostgresServer
from servers.postgres_programs import NEWEST, OLDEST, Programs
from servers.pulsar import QUICK_START, SETTINGS, PulsarServer
from servers.pulsar_lite import PulsarLiteServer
from testing.services import Service, wait_until

FOREVER_SECONDS = 600

# A server that is hard to end: it ignores every signal but SIGKILL, and has a child, a child in its own session, and a
# daemon made by a double fork. The name of a file is the id of each process.
_STRAYS = f"""
import os, signal, sys, time
from pathlib import Path

for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
    signal.signal(ignored, signal.SIG_IGN)

def stay():
    Path("pids", str(os.getpid())).touch()
    time.sleep({FOREVER_SECONDS})
    os._exit(0)

if not os.fork():
    stay()
if not os.fork():
    os.setsid()
    stay()
between = os.fork()
if not between:
    os.setsid()
    if not os.fork():
        stay()
    os._exit(0)
os.waitpid(between, 0)
Path("pids", str(os.getpid())).touch()
if sys.argv[1:] != ["*ends before its children"]:
    time.sleep({FOREVER_SECONDS})
"""

Started = list[int]
"""Ids of the processes that must end with this program."""


@contextlib.contextmanager
def _strays(folder: Path, *words: str) -> Iterator[Started]:
    (folder / "pids").mkdir()
    server = processes.start(
        "strays",
        [sys.executable, "-c", _STRAYS, *words],
        log=folder / "log",
        directory=folder,
        environment={},
    )
    pids: list[int] = []

    def all_there() -> bool:
        pids[:] = [int(path.name) for path in (folder / "pids").iterdir()]
        return len(pids) == 4

    wait_until(all_there, "every process", server.end_of_log)
    if words:
        server.process.wait()
    yield pids


@contextlib.contextmanager
def _orphans(folder: Path) -> Iterator[Started]:
    with _strays(folder, "*ends before its children") as pids:
        yield pids


@contextlib.contextmanager
def _stopped(folder: Path) -> Iterator[Started]:
    with _lite(folder) as pids:
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield pids


@contextlib.contextmanager
def _unmarked(_: Path) -> Iterator[Started]:
    """Start a process with an empty environment, like that of another user's process, which cannot be read."""
    command = ["sleep", str(FOREVER_SECONDS)]
    process = subprocess.Popen(command, env={}, start_new_session=True)
    lifeline.entrust_process(process.pid)
    yield [process.pid]


def _postgres(version: int) -> Callable[[Path], contextlib.AbstractContextManager[Started]]:
    @contextlib.contextmanager
    def start(_: Path) -> Iterator[Started]:
        with PostgresServer(version) as server:
            children = psutil.Process(server.pid).children(recursive=True)
            assert children
            yield [server.pid, *(child.pid for child in children)]

    return start


@contextlib.contextmanager
def _initdb(folder: Path) -> Iterator[Started]:
    """Start a Postgres whose cluster is still being created, by programs that take long."""
    folder.chmod(0o755)
    (folder / "pids").mkdir()
    (folder / "pids").chmod(0o777)
    for name, then in (("postgres", ""), ("initdb", f"touch {folder}/pids/$$; exec sleep {FOREVER_SECONDS}")):
        (folder / name).write_text(f"#!/bin/sh\n{then}\n")
        (folder / name).chmod(0o755)
    with mock.patch.object(postgres, "programs", return_value=Programs(NEWEST, folder)):
        threading.Thread(target=PostgresServer().start, daemon=True).start()
    wait_until(lambda: any((folder / "pids").iterdir()), "initdb")
    yield [int(path.name) for path in (folder / "pids").iterdir()]


@contextlib.contextmanager
def _pulsar(folder: Path) -> Iterator[Started]:
    with PulsarServer(folder, QUICK_START) as server:
        yield [server.pid]


@contextlib.contextmanager
def _lite(folder: Path) -> Iterator[Started]:
    with PulsarLiteServer(folder / "broker") as server:
        yield [server.pid]


@contextlib.contextmanager
def _service(folder: Path) -> Iterator[Started]:
    """Start a service of the product, and what it needs."""
    from settings.database import DatabaseSettings
    from store.connection import connect
    from store.migrate import migrate

    with PulsarLiteServer(folder / "broker") as broker, PostgresServer() as postgres:
        with connect(DatabaseSettings.load(database_url=postgres.url()), "starter") as connection:
            migrate(connection)
        settings = {
            "JOBTRAIL_PULSAR_URL": broker.url,
            "JOBTRAIL_SCHEMA_REGISTRY": "bundled",
            "JOBTRAIL_DATABASE_URL": postgres.url(),
        }
        service = Service("aggregate", settings, folder / "service.log")
        service.wait_ready()
        yield [child.pid for child in psutil.Process().children(recursive=True)]


@contextlib.contextmanager
def _children(_: Path) -> Iterator[Started]:
    """Start processes by the standard library, not by `servers`."""
    target, args = time.sleep, (FOREVER_SECONDS,)
    started = [
        multiprocessing.get_context("spawn").Process(target=target, args=args, daemon=True),
        multiprocessing.get_context("forkserver").Process(target=target, args=args, daemon=True),
    ]
    lifeline.entrust_folder(Path(get_temp_dir()))  # the forkserver's
    for process in started:
        process.start()
    yield [process.pid for process in started if process.pid is not None]


@contextlib.contextmanager
def _container(_: Path) -> Iterator[Started]:
    """Start a container that is still starting. The `docker` on PATH is the test's."""
    broker = DockerPulsar("image", SETTINGS, FOREVER_SECONDS)
    threading.Thread(target=broker.start, daemon=True).start()
    wait_until(lambda: "run" in Path(os.environ["DOCKER_CALLS"]).read_text(), "docker run")
    yield []


@contextlib.contextmanager
def _guardian_killed(folder: Path) -> Iterator[Started]:
    """Start one server before the first guardian is killed, and one after."""
    folders = [folder / "first", folder / "second"]
    for one in folders:
        one.mkdir()
    with _strays(folders[0]) as before:
        words = [str(Path(lifeline.__file__).with_name("guardian.py")), str(os.getpid())]
        (guardian,) = (one for one in psutil.process_iter() if _says(one, words))
        guardian.kill()
        wait_until(lambda: not guardian.is_running() or guardian.status() == "zombie", "the guardian's end")
        with _strays(folders[1]) as after:
            yield before + after


def _says(process: psutil.Process, words: list[str]) -> bool:
    try:
        return set(words) <= set(process.cmdline())
    except psutil.Error:
        return False


@contextlib.contextmanager
def _small_disk(_: Path) -> Iterator[Started]:
    from tests.faults.site import small_file_system

    with small_file_system() as disk:
        (disk / "file").write_text("something")
        yield []


KINDS: dict[str, Callable[[Path], contextlib.AbstractContextManager[Started]]] = {
    "strays": _strays,
    "orphans": _orphans,
    "stopped": _stopped,
    "unmarked": _unmarked,
    "initdb": _initdb,
    "postgres15": _postgres(OLDEST),
    "postgres18": _postgres(NEWEST),
    "pulsar": _pulsar,
    "pulsar-lite": _lite,
    "service": _service,
    "children": _children,
    "container": _container,
    "guardian-killed": _guardian_killed,
    "small-disk": _small_disk,
}


def _segfault() -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.string_at(0)


def _raise() -> NoReturn:
    raise RuntimeError("a defect")


ENDS: dict[str, Callable[[], object]] = {
    "wait": lambda: time.sleep(FOREVER_SECONDS),
    "exit": lambda: None,
    "error": _raise,
    "os._exit": lambda: os._exit(3),
    "segfault": _segfault,
}


def main(end: str, *kinds: str) -> None:
    """Start a server of each kind, print the process ids, and end."""
    # Under nohup, or in the background, these signals are ignored: set them as in a terminal.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    lifeline.begin()
    with contextlib.ExitStack() as started:
        pids: Started = []
        for kind in kinds:
            folder = started.enter_context(temporary_folder("jobtrail-starter-"))
            pids += started.enter_context(KINDS[kind](folder))
        print(json.dumps(pids), flush=True)
        ENDS[end]()


if __name__ == "__main__":
    main(*sys.argv[1:])
