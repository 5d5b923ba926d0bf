"""The cache: files downloaded once for all checkouts on this machine, outside all of them."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "JOBTRAIL_TEST_CACHE"


def cache_directory() -> Path:
    """Return the folder, and create it if it is missing: $JOBTRAIL_TEST_CACHE, else `jobtrail` in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given:
        directory = Path(given).expanduser()
    else:
        directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobtrail"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock with this name, so that one of several runs downloads and the others wait."""
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
