"""Opens, locks and closes files that only one process holds at a time, by flock; closes them in a fork's child.

A flock belongs to the open file, and a fork's child inherits that: a child that kept it open would keep its parent's
segments locked after the parent died. So every such file is listed here, and the child closes it.
"""

import os
import stat
import threading
from pathlib import Path
from typing import Final

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

AVAILABLE: Final = fcntl is not None
_FORK_WAITS_SECONDS: Final = 0.1


class _Open:
    def __init__(self) -> None:
        self.files: set[int] = set()
        self.lock = threading.Lock()
        self.hooked = False
        self.held_for_fork = False


_open: Final = _Open()


def create(path: Path) -> int:
    """Create a file that only its owner may read, locked by this process; return its descriptor. Raises OSError."""
    return _opened(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)


def take(path: Path) -> int | None:
    """Open and lock a file that belongs to our user and that no process holds, else return None. Raises OSError."""
    descriptor = _opened(path, os.O_RDONLY | os.O_NONBLOCK)
    if descriptor < 0:
        return None
    try:
        found, there = os.fstat(descriptor), os.lstat(path)
        # Between opening and locking, the process that held it may have removed it.
        ours = (
            stat.S_ISREG(found.st_mode)
            and found.st_uid == os.geteuid()
            and (found.st_dev, found.st_ino) == (there.st_dev, there.st_ino)
        )
    except OSError:
        ours = False
    if not ours:
        close(descriptor)
        return None
    return descriptor


def close(descriptor: int) -> None:
    """Close and unlock; do nothing in a fork's child, where it is already closed."""
    with _open.lock:
        if descriptor in _open.files:
            _open.files.discard(descriptor)
            os.close(descriptor)


def _opened(path: Path, flags: int) -> int:
    """Open and lock; return -1 when another process holds it."""
    _install_hooks()
    with _open.lock:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        _open.files.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        close(descriptor)
        return -1
    except OSError:
        close(descriptor)
        raise
    return descriptor


def _install_hooks() -> None:
    if not _open.hooked and hasattr(os, "register_at_fork"):
        _open.hooked = True
        os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_in_child)


def _before_fork() -> None:
    # With the lock held, every open file is listed. The wait is bounded: a hung disk must not delay a job that forks.
    _open.held_for_fork = _open.lock.acquire(timeout=_FORK_WAITS_SECONDS)


def _after_fork() -> None:
    if _open.held_for_fork:
        _open.held_for_fork = False
        _open.lock.release()


def _in_child() -> None:
    files, _open.files = _open.files, set()
    _open.lock = threading.Lock()
    _open.held_for_fork = False
    for descriptor in files:
        try:
            os.close(descriptor)
        except OSError:
            continue
