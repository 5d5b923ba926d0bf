"""Barriers: a process waits where a test wants it, and nowhere else."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from consumers.process import barriers
from tests.faults.director import Director

_THREE_STEPS = """
from consumers.process.barriers import halfway, reached
reached("one")
reached("two")
print(*halfway("half", [1, 2, 3, 4]), flush=True)
reached("two")
"""


@pytest.fixture
def director() -> Iterator[Director]:
    with Director() as listening:
        yield listening


def _run(director: Director) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _THREE_STEPS],
        env={**os.environ, **director.environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def test_a_process_waits_at_the_step_until_it_is_released(director: Director) -> None:
    trap = director.trap("two", 2)
    process = _run(director)
    held = trap.wait(30)
    assert held is not None
    assert (held.pid, held.step) == (process.pid, "two")
    assert process.poll() is None
    held.release()
    assert process.communicate(timeout=30)[0] == "1 2 3 4\n"
    assert process.returncode == 0


def test_a_process_is_killed_at_the_step(director: Director) -> None:
    trap = director.trap("half")
    process = _run(director)
    held = trap.wait(30)
    assert held is not None
    held.kill()
    assert process.communicate(timeout=30)[0] == ""
    assert process.returncode == -9


def test_a_trap_that_was_removed_holds_no_process(director: Director) -> None:
    director.remove(director.trap("two"))
    process = _run(director)
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_without_a_test_barriers_do_nothing() -> None:
    items = [1, 2, 3]
    assert barriers.halfway("half", items) is items
    assert barriers.REACHED_IF_ENABLED is None
