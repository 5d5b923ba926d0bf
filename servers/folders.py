"""Temporary folders that are removed at the latest after the program that created them, however it ended."""

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from servers import lifeline

_keys: dict[Path, str] = {}


def make_folder(prefix: str, parent: Path | None = None) -> Path:
    """Create a new folder, only for this user, below `parent` (default: the system's temporary folder)."""
    folder = (parent or Path(tempfile.gettempdir())).resolve() / f"{prefix}{uuid.uuid4().hex[:12]}"
    _keys[folder] = lifeline.entrust_folder(folder)  # before it exists, so that it is never unprotected
    folder.mkdir(mode=0o700)
    return folder


def remove_folder(folder: Path, *, ignore_errors: bool = False) -> None:
    """Remove a folder of `make_folder` with its contents. Raises OSError if that is not possible."""
    shutil.rmtree(folder, ignore_errors=ignore_errors)
    lifeline.take_back(_keys.pop(folder))


@contextlib.contextmanager
def temporary_folder(prefix: str, parent: Path | None = None) -> Iterator[Path]:
    """Yield a new folder, and remove it after the block."""
    folder = make_folder(prefix, parent)
    try:
        yield folder
    finally:
        remove_folder(folder)
