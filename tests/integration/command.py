"""The `jobtrail` command, run in this process: its status, what it prints, and its errors."""

from collections.abc import Callable

import pytest

from cli.main import run

Jobtrail = Callable[..., tuple[int, str, str]]


def jobtrail_with(capsys: pytest.CaptureFixture[str]) -> Jobtrail:
    """Return a function that runs the command with the words given, and returns its status, output and errors."""

    def called(*arguments: str) -> tuple[int, str, str]:
        status = run(list(arguments))
        said = capsys.readouterr()
        return status, said.out, said.err

    return called
