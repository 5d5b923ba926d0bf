"""Everything that a program starts ends with it, however it ends: no process and no folder is left."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from servers.folders import temporary_folder
from servers.ports import HOST, free_ports
from testing.services import wait_until
from tests.faults.site import can_mount

ROOT = Path(__file__).resolve().parents[2]
GONE_WITHIN_SECONDS = 15
STARTED_WITHIN_SECONDS = 240


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Yield a folder for the program's temporary files; Postgres, which does not run as root, must be able to enter it."""
    with temporary_folder("jobtrail-test-") as folder:
        folder.chmod(0o755)
        yield folder


class Program:
    """A program that starts servers (`starter.py`), and the processes that it started."""

    def __init__(self, temporary: Path, command: list[str], **how: object) -> None:
        self.temporary = temporary
        environment = {**os.environ, "TMPDIR": str(temporary)}
        self.process: subprocess.Popen[str] = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            **{"env": environment, **how},  # type: ignore[call-overload]
        )
        self.family: list[psutil.Process] = []

    def wait_until_started(self) -> None:
        assert self.process.stdout is not None
        too_late = threading.Timer(STARTED_WITHIN_SECONDS, self.process.kill)
        too_late.start()
        line = self.process.stdout.readline()
        too_late.cancel()
        assert line, "it ended before everything had started"
        for pid in json.loads(line):
            with suppress(psutil.NoSuchProcess):  # it has ended already
                self.family.append(psutil.Process(pid))

    def wait_until_nothing_is_left(self) -> None:
        wait_until(lambda: not self.left(), "everything to be gone", self.left, GONE_WITHIN_SECONDS)

    def left(self) -> str:
        """Describe what is left of it; empty if nothing is."""
        living = [str(process) for process in self.family if is_living(process)]
        return "\n".join([*living, *(str(path) for path in self.temporary.iterdir())])

    def clear_away(self) -> None:
        """End what a failing guardian left."""
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get("TMPDIR") == str(self.temporary) or process in self.family:
                    process.kill()
        self.process.communicate()


def is_living(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def starter(end: str, *kinds: str) -> list[str]:
    return [sys.executable, "-m", "tests.integration.starter", end, *kinds]


@contextmanager
def program(temporary: Path, command: list[str], **how: object) -> Iterator[Program]:
    started = Program(temporary, command, **how)
    try:
        started.wait_until_started()
        yield started
    finally:
        started.clear_away()


KINDS = [
    "strays",
    "orphans",
    "stopped",
    "unmarked",
    "initdb",
    "postgres15",
    "postgres18",
    "pulsar-lite",
    "pulsar",
    "service",
    "children",
]


@pytest.mark.parametrize("kind", KINDS)
def test_server_ends_when_its_starter_is_killed(kind: str, temporary: Path) -> None:
    with program(temporary, starter("wait", kind)) as started:
        assert all(is_living(process) for process in started.family)
        started.process.kill()
        started.wait_until_nothing_is_left()


def test_postgres_of_a_killed_starter_gives_its_shared_memory_back(temporary: Path) -> None:
    with program(temporary, starter("wait", "postgres18")) as started:
        segments = {
            line.split()[-1]
            for process in started.family
            for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines()
            if "/dev/shm/" in line
        }
        assert segments
        started.process.kill()
        started.wait_until_nothing_is_left()
        assert not any(Path(segment).exists() for segment in segments)


@pytest.mark.parametrize("end", ["exit", "error", "os._exit", "segfault"])
def test_servers_end_when_their_starter_ends_by_itself(end: str, temporary: Path) -> None:
    with program(temporary, starter(end, "strays", "pulsar-lite")) as started:
        started.wait_until_nothing_is_left()


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT], ids=lambda number: number.name
)
def test_servers_end_when_a_signal_ends_their_starter(number: signal.Signals, temporary: Path) -> None:
    with program(temporary, starter("wait", "strays", "pulsar-lite"), stderr=subprocess.DEVNULL) as started:
        started.process.send_signal(number)
        started.wait_until_nothing_is_left()


def test_servers_end_when_their_starters_whole_group_is_killed(temporary: Path) -> None:
    with program(temporary, starter("wait", "strays", "pulsar-lite")) as started:
        os.killpg(started.process.pid, signal.SIGKILL)
        started.wait_until_nothing_is_left()


# Makes its standard input the controlling terminal of its session, and becomes the given command.
IN_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


def close(terminal: int) -> None:
    os.close(terminal)


def press_ctrl_c(terminal: int) -> None:
    os.write(terminal, b"\x03")


@pytest.mark.parametrize("act", [close, press_ctrl_c])
def test_servers_end_with_the_terminal_of_their_starter(act: Callable[[int], None], temporary: Path) -> None:
    ours, theirs = os.openpty()
    command = [sys.executable, "-c", IN_A_TERMINAL, *starter("wait", "strays", "pulsar-lite")]
    with program(temporary, command, stdin=theirs, stderr=subprocess.DEVNULL) as started:
        os.close(theirs)
        act(ours)
        started.wait_until_nothing_is_left()
    with suppress(OSError):
        os.close(ours)


@pytest.mark.parametrize(
    ("target", "number"),
    [
        *((target, signal.SIGKILL) for target in ("demo", "test", "unit", "faults", "bench")),
        ("bench", signal.SIGTERM),
    ],
    ids=str,
)
def test_servers_end_with_the_make_that_ran_their_starter(
    target: str, number: signal.Signals, temporary: Path, tmp_path: Path
) -> None:
    """The recipes are the Makefile's own, with a Python that runs the starter whatever its arguments."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f"#!/bin/sh\nexec {' '.join(starter('wait', 'strays'))}\n")
    stand_in.chmod(0o755)
    for level in ("demo", "dev"):  # as if everything were installed
        (tmp_path / f".installed-{level}").touch()
    command = [
        "make",
        target,
        f"BIN={tmp_path}",
        f"STAMP={tmp_path}/.installed",
        "--old-file=.venv/bin/python",
    ]
    with program(temporary, command, stderr=subprocess.DEVNULL) as started:
        (running,) = [
            one for one in psutil.Process(started.process.pid).children(recursive=True) if is_starter(one)
        ]
        started.family.append(running)
        started.process.send_signal(number)
        started.wait_until_nothing_is_left()


def is_starter(process: psutil.Process) -> bool:
    return "tests.integration.starter" in process.cmdline() and process.name() != "sh"


def test_servers_end_with_their_starter_after_its_guardian_was_killed_and_restarted(temporary: Path) -> None:
    with program(temporary, starter("wait", "guardian-killed")) as started:
        started.process.kill()
        started.wait_until_nothing_is_left()


def test_servers_of_a_program_that_a_test_starts_end_with_the_test_run(
    temporary: Path, tmp_path: Path
) -> None:
    """For example, a test runs the demo, and the test run is killed: the demo's servers end too."""
    nested = tmp_path / "nested.py"
    words = starter("wait", "strays", "pulsar-lite")
    nested.write_text(
        f"import subprocess, sys\nfrom servers import lifeline\nlifeline.begin()\nsubprocess.run({words!r})\n"
    )
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    with program(temporary, [sys.executable, str(nested)], env=environment) as started:
        started.process.kill()
        started.wait_until_nothing_is_left()


def test_container_of_a_killed_starter_is_removed(temporary: Path, tmp_path: Path) -> None:
    """A `docker` that records its arguments replaces the Docker engine, which may be missing."""
    calls = tmp_path / "calls"
    calls.touch()
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$@" >> {calls}\n')
    docker.chmod(0o755)
    environment = {
        **os.environ,
        "TMPDIR": str(temporary),
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "DOCKER_CALLS": str(calls),
    }
    with program(temporary, starter("wait", "container"), env=environment) as started:
        (run,) = calls.read_text().splitlines()
        name = run.partition("--name ")[2].split()[0]
        started.process.kill()
        removed = f"rm --force --volumes {name}"
        wait_until(lambda: removed in calls.read_text().splitlines(), "the removal of the container")
        started.wait_until_nothing_is_left()


def test_small_disk_of_a_killed_starter_is_unmounted(temporary: Path) -> None:
    if not can_mount():
        return  # only root may mount, so nothing can be left
    with program(temporary, starter("wait", "small-disk")) as started:
        assert str(temporary) in Path("/proc/mounts").read_text()
        started.process.kill()
        started.wait_until_nothing_is_left()
        assert str(temporary) not in Path("/proc/mounts").read_text()


TEST_THAT_IS_ASKED_TO_END = """
import os, signal
from pathlib import Path
from servers.pulsar_lite import PulsarLiteServer

def test_first(tmp_path):
    with PulsarLiteServer(tmp_path):
        os.kill(os.getpid(), signal.SIGTERM)
        signal.pause()

def test_second():
    Path("second").touch()
"""


def test_sigterm_ends_the_whole_run_of_tests_and_not_one_test(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST_THAT_IS_ASKED_TO_END)
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "conftest",
            "-p",
            "no:cacheprovider",
            "--rootdir=.",
            "test_it.py",
        ],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 128 + signal.SIGTERM, answer.stdout + answer.stderr
    assert "SIGTERM" in answer.stdout
    assert not (tmp_path / "second").exists()


# ------------------------------------------------------------------------------------------------------------- ports

CHOOSES_PORTS = """
import json, sys
from servers import ports
if sys.argv[2:]:
    ports.CANDIDATES = range(int(sys.argv[2]), int(sys.argv[3]))
print(json.dumps(ports.free_ports(int(sys.argv[1]))), flush=True)
sys.stdin.read()
"""


@contextmanager
def choosing(count: int, *candidates: int) -> Iterator[subprocess.Popen[str]]:
    """Start a program that chooses ports, prints them, and stays until the block ends."""
    words = [str(word) for word in (count, *candidates)]
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSES_PORTS, *words],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


def chosen(process: subprocess.Popen[str]) -> list[int]:
    assert process.stdout is not None
    found: list[int] = json.loads(process.stdout.readline())
    return found


def test_programs_that_choose_many_ports_at_once_never_share_one() -> None:
    with choosing(700) as first, choosing(700) as second, choosing(700) as third, choosing(700) as fourth:
        found = [port for process in (first, second, third, fourth) for port in chosen(process)]
    assert len(set(found)) == len(found) == 2_800


def test_ports_of_a_program_are_free_for_others_when_it_was_killed() -> None:
    (first,) = free_ports(1)
    candidates = (first // 2, first // 2 + 5)  # where no other program looks
    with choosing(3, *candidates) as owner:
        assert len(set(chosen(owner))) == 3
        with choosing(1, *candidates) as other:
            assert other.communicate()[1].rstrip().endswith("running programs own all of them")
        owner.kill()
        owner.wait()
        deadline = time.monotonic() + GONE_WITHIN_SECONDS
        while True:
            with choosing(1, *candidates) as other:
                assert other.stdout is not None
                if line := other.stdout.readline():
                    break
            assert time.monotonic() < deadline
        assert json.loads(line)[0] in range(*candidates)


FORKS = """
import json, os
from servers.ports import free_ports
of_parent = free_ports(1)
read, write = os.pipe()
if not os.fork():
    os.write(write, json.dumps(free_ports(100)).encode())
    os._exit(0)
os.wait()
print(json.dumps([of_parent + free_ports(100), json.loads(os.read(read, 10_000))]))
"""


def test_forked_child_chooses_no_port_of_its_parent() -> None:
    answer = subprocess.run(
        [sys.executable, "-c", FORKS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    of_parent, of_child = json.loads(answer.stdout)
    assert not set(of_parent) & set(of_child)


def test_port_on_which_something_listens_is_not_chosen() -> None:
    taken = free_ports(1)[0] // 2
    with socket.create_server((HOST, taken)), choosing(1, taken, taken + 2) as program:
        assert chosen(program) == [taken + 1]
