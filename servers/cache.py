"""The cache: what is downloaded once for all checkouts of this machine, outside of any of them."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

VARIABLE = "JOBTRAIL_TEST_CACHE"


def cache_directory() -> Path:
    """Return the folder, made if need be: $JOBTRAIL_TEST_CACHE, else `jobtrail` in the user's cache."""
    given = os.environ.get(VARIABLE)
    if given:
        directory = Path(given).expanduser()
    else:
        directory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jobtrail"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


@contextlib.contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of that name, so that of several runs at once one downloads and the others wait for it."""
    with (cache_directory() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
