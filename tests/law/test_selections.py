"""The tests that are to catch the deliberate breaks exist. Each selection starts pytest, so this is not part of `make unit`."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.law.breaks import BREAKS

SELECTIONS = sorted({one.tests for one in BREAKS})


@pytest.mark.parametrize("selection", SELECTIONS, ids=" ".join)
def test_the_tests_that_catch_a_break_exist(selection: tuple[str, ...]) -> None:
    """A test that was renamed is not selected any more, and then the break would be caught by nothing."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *selection]
    ended = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=120, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
