"""What the law met is told at the end of the run, whether it passed or failed."""

import pytest

from tests.law.coverage import REPORTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for coverage in REPORTS:
        terminalreporter.section(coverage.title)
        for line in coverage.lines():
            terminalreporter.write_line(line)
