"""The database of the law, and what the law met: told at the end of the run, whether it passed or failed."""

import os
from collections.abc import Iterator

import pytest

from tests.law import ground
from tests.law.coverage import REPORTS


@pytest.fixture
def law_url(postgres_version: int, request: pytest.FixtureRequest) -> Iterator[str]:
    """A migrated database of our own on each server; its default collation is ICU's where the server has ICU."""
    server_url = os.environ.get(
        f"JOBTRAIL_LAW_POSTGRES_{postgres_version}"
    )  # one that mutations.py keeps running
    with ground.database(server_url or request.getfixturevalue("postgres_each").url()) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for coverage in REPORTS:
        terminalreporter.section(coverage.title)
        for line in coverage.lines():
            terminalreporter.write_line(line)
