"""The servers that tests/ and workers/tests/ share, with a separate database for each test.

Each server is started when a test first uses it, once in a run of pytest.

    pulsar                              a real broker: .url, .admin_url (each test creates its topics with `broker.provision`)
    postgres, postgres_each             a real Postgres: 18; 15 and 18, one after the other
    database_url, database_url_each     a new database with this release's tables, in 18; in each
    empty_database_url, …_each          a new database with nothing in it

Tests that stop or kill a server start their own one: `servers.pulsar.own_pulsar`, `servers.postgres.PostgresServer`. If a
server is not available, the test fails and says what is missing.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.util import get_temp_dir
from pathlib import Path

import pytest

from servers import lifeline
from servers.folders import make_folder
from servers.postgres import PostgresServer
from servers.postgres_programs import NEWEST, OLDEST
from servers.pulsar import Pulsar, any_pulsar
from testing.databases import Databases


def pytest_configure() -> None:
    """End everything that tests start with this process, and end cleanly on SIGTERM."""
    lifeline.entrust_folder(Path(get_temp_dir()))  # multiprocessing's, for its servers
    # What the SDK spools in tests stays out of the user's state directory. Removed when this process is gone.
    if "JOBTRAIL_SPOOL_DIR" not in os.environ:
        os.environ["JOBTRAIL_SPOOL_DIR"] = str(make_folder("jobtrail-spool-"))
    signal.signal(signal.SIGTERM, _end)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # A shell starts a program in the background so. What tests start would inherit it, and survive Ctrl-C.
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(number: int, _frame: object) -> None:
    # SystemExit would fail the test that it meets, and the next one would begin.
    pytest.exit(signal.Signals(number).name, returncode=128 + number)


@pytest.fixture(scope="session")
def pulsar() -> Iterator[Pulsar]:
    with any_pulsar() as broker:
        yield broker


@pytest.fixture(scope="session")
def postgres_of_version() -> Iterator[Callable[[int], PostgresServer]]:
    """Return a function that returns the shared server of a version, started at its first use."""
    with contextlib.ExitStack() as started:
        servers: dict[int, PostgresServer] = {}

        def of_version(version: int) -> PostgresServer:
            if version not in servers:
                servers[version] = started.enter_context(PostgresServer(version))
            return servers[version]

        yield of_version


@pytest.fixture(scope="session")
def databases_of(postgres_of_version: Callable[[int], PostgresServer]) -> Callable[[int], Databases]:
    made: dict[int, Databases] = {}

    def of_version(version: int) -> Databases:
        if version not in made:
            made[version] = Databases(postgres_of_version(version))
        return made[version]

    return of_version


@pytest.fixture(scope="session", params=[OLDEST, NEWEST], ids=["postgres15", "postgres18"])
def postgres_version(request: pytest.FixtureRequest) -> int:
    """Run the test once for each end of the range of versions."""
    version: int = request.param
    return version


@pytest.fixture(scope="session")
def postgres(postgres_of_version: Callable[[int], PostgresServer]) -> PostgresServer:
    return postgres_of_version(NEWEST)


@pytest.fixture(scope="session")
def postgres_each(
    postgres_of_version: Callable[[int], PostgresServer], postgres_version: int
) -> PostgresServer:
    return postgres_of_version(postgres_version)


@pytest.fixture
def database_url(databases_of: Callable[[int], Databases]) -> Iterator[str]:
    with databases_of(NEWEST).migrated() as url:
        yield url


@pytest.fixture
def empty_database_url(databases_of: Callable[[int], Databases]) -> Iterator[str]:
    with databases_of(NEWEST).empty() as url:
        yield url


@pytest.fixture
def database_url_each(databases_of: Callable[[int], Databases], postgres_version: int) -> Iterator[str]:
    with databases_of(postgres_version).migrated() as url:
        yield url


@pytest.fixture
def empty_database_url_each(databases_of: Callable[[int], Databases], postgres_version: int) -> Iterator[str]:
    with databases_of(postgres_version).empty() as url:
        yield url
