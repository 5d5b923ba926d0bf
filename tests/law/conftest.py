"""Prints at the end of a run, passed or failed, which facts the law's universes met."""

import pytest

from tests.law.coverage import REPORTS


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for coverage in REPORTS:
        terminalreporter.section(coverage.title)
        for line in coverage.lines():
            terminalreporter.write_line(line)
