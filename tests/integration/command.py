"""Runs the `jobtrail` command in this process, and returns its status, output and errors."""

from collections.abc import Callable

import pytest

from cli.main import run

Jobtrail = Callable[..., tuple[int, str, str]]


def jobtrail_with(capsys: pytest.CaptureFixture[str]) -> Jobtrail:
    """Return a function that runs the command with its arguments, and returns the status, output and errors."""

    def called(*arguments: str) -> tuple[int, str, str]:
        status = run(list(arguments))
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return called
