"""The demo, run as a user does: it ends well, its checker finds lies, and nothing is left behind."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from demo.story import tell
from servers.folders import temporary_folder
from testing.services import wait_until

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_SECONDS = 240


# The file of a worker, a text that occurs in it once, and the lie that replaces it. Then the comparisons that must fail.
LIES = (
    ("showtimes-1.jsonl", '"state": "discarded"', '"state": "completed"'),
    ("showtimes-2.jsonl", '"category": "movie_not_ready"', '"category": "timeout"'),
    ("movie_pages-1.jsonl", '"external_id": "movie:', '"external_id": "film:'),
    ("sync-1.jsonl", '"expected": {"MoviePageJob": 136}', '"expected": {"MoviePageJob": 137}'),
)
FAILED_COMPARISONS = (
    "stats: jobs by stage and state",
    "stats: how many were expected",
    "jobs: each one's state, parent and error",
    "gaps: announced and not spawned",
    "runs: the run in numbers",
    "failures: groups, times, jobs",
    "sources: completed and discarded",
    "import: completed tasks by program",
    "an answer to each question",
)


@pytest.fixture
def temporary() -> Iterator[Path]:
    """Yield a folder for the demo's temporary files; Postgres, which does not run as root, must be able to enter it."""
    with temporary_folder("jobtrail-test-demo-") as folder:
        folder.chmod(0o755)
        yield folder


class Demo:
    """A running demo, and its output so far."""

    def __init__(self, temporary: Path, *options: str) -> None:
        self._temporary = temporary
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-u", "-m", "demo", *options],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(temporary), "JOBTRAIL_PULSAR_URL": "pulsar://not-the-demos:1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def output(self) -> str:
        return "".join(self.lines)

    @property
    def directory(self) -> Path:
        (found,) = self._temporary.glob("jobtrail-demo-*")
        return found

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + DEADLINE_SECONDS
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.05)

    def end(self) -> int:
        """Wait for its end, and return its exit status."""
        status = self.process.wait(DEADLINE_SECONDS)
        self._reader.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)


@contextmanager
def demo(temporary: Path, *options: str) -> Iterator[Demo]:
    playing = Demo(temporary, *options)
    try:
        yield playing
    finally:
        if playing.process.poll() is None:
            playing.process.send_signal(signal.SIGTERM)
            playing.end()


def nothing_is_left(family: list[psutil.Process], temporary: Path) -> bool:
    return not any(member.is_running() for member in family) and not list(temporary.iterdir())


def check(directory: Path) -> tuple[int, str]:
    """Run the checker; return its status and output."""
    answer = subprocess.run(
        [sys.executable, "-m", "demo.checker", str(directory)],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    return answer.returncode, answer.stdout + answer.stderr


def test_once_with_a_seed_ends_by_itself_and_shows_the_seeds_numbers(temporary: Path) -> None:
    story = tell(11)
    slow = [page for page in story.pages if page.is_slow]
    taken = story.pages[: story.pages.index(slow[-1]) + 1]
    done = [page for page in taken if not page.is_slow]
    showtimes = sum(len(page.showtimes) for page in done)
    with demo(temporary, "--once", "--seed", "11") as playing:
        playing.wait_for("Which runs are there?")
        family = playing.family()
        assert family
        assert playing.end() == 0, playing.output
    states = f"completed {len(done)} · available {len(story.pages) - len(taken)} · executing {len(slow)}"
    assert f"SyncJob #{story.first_job_id}  completed\n" in playing.output
    assert re.search(rf"└─ MoviePageJob +{len(story.pages)} +{states}", playing.output)
    assert re.search(r"├─ MovieDetailJob .* ⚠ stuck for", playing.output)
    assert f"✗ movie_not_ready ({showtimes}, one group)" in playing.output
    assert "✗" not in playing.output.partition("wrote down themselves?")[2]
    assert nothing_is_left(family, temporary)


def test_the_checker_finds_lies_and_a_dead_service_ends_the_demo(temporary: Path) -> None:
    with demo(temporary) as playing:
        playing.wait_for("Ctrl-C")
        directory, family = playing.directory, playing.family()
        assert check(directory)[0] == 0
        for file, old, new in LIES:
            tally = directory / "tally" / file
            truth = tally.read_text()
            assert old in truth, file
            tally.write_text(truth.replace(old, new, 1))
        imported = directory / "imported.json"
        other = ROOT / "tests" / "traces" / "epigenomics-chameleon-hep-1seq-100k-001.json.gz"
        imported.write_text(json.dumps({**json.loads(imported.read_text()), "file": str(other)}))
        status, output = check(directory)
        assert status == 1, output
        for what in FAILED_COMPARISONS:
            assert re.search(rf"✗ {re.escape(what)}.*\n +.*the workers say", output), (what, output)

        (aggregator,) = (one for one in family if "aggregate" in one.cmdline())
        aggregator.kill()
        assert playing.end() == 2, playing.output
    assert "jobtrail aggregate ended with status -9" in playing.output
    assert "aggregate.log" in playing.output
    assert nothing_is_left(family, temporary)


def test_sigterm_during_the_demo_leaves_nothing_behind(temporary: Path) -> None:
    with demo(temporary, "--once") as playing:
        playing.wait_for("pulsar-lite")
        family = playing.family()
        assert family
        playing.process.send_signal(signal.SIGTERM)
        assert playing.end() == 128 + signal.SIGTERM, playing.output
    assert "nothing is left behind" in playing.output
    assert nothing_is_left(family, temporary)


def test_a_demo_that_is_killed_leaves_nothing_behind(temporary: Path) -> None:
    with demo(temporary, "--once") as playing:
        playing.wait_for("a recorded workflow is imported")
        family = playing.family()
        assert family
        playing.process.kill()
        assert playing.end() == -signal.SIGKILL
        wait_until(lambda: nothing_is_left(family, temporary), "nothing to be left", deadline_seconds=15)
