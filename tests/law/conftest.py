"""The law's database, and the summary of the conflicts that it met, printed after every run."""

import os
from collections.abc import Iterator

import pytest

from tests.law import ground
from tests.law.coverage import REPORTS


@pytest.fixture
def law_url(postgres_version: int, request: pytest.FixtureRequest) -> Iterator[str]:
    """Yield a new, migrated database on each server; its default collation is ICU's if the server has ICU."""
    server_url = os.environ.get(
        f"JOBTRAIL_LAW_POSTGRES_{postgres_version}"
    )  # a server that mutations.py keeps running
    with ground.database(server_url or request.getfixturevalue("postgres_each").url()) as url:
        yield url


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for coverage in REPORTS:
        terminalreporter.section(coverage.title)
        for line in coverage.lines():
            terminalreporter.write_line(line)
