"""Downloads jars with Maven, from a pom into a folder of the cache that exists only when it is complete."""

import shutil
import subprocess
import sys
from pathlib import Path

from servers.errors import ServerUnavailableError
from servers.folders import temporary_folder

MANIFEST = "FILES.txt"
DOWNLOAD_TIMEOUT_SECONDS = 20 * 60


def download(pom: Path, folder: Path, what: str, megabytes: int) -> None:
    """Replace the folder's content by every jar that the pom needs. The caller holds its lock.

    Raises ServerUnavailableError when Maven fails; then the folder is unchanged.
    """
    print(f"downloading {what} into {folder} ({megabytes} MB, once)", file=sys.stderr, flush=True)
    # Into a new folder beside the last one, which gets its name only when it is complete.
    with temporary_folder(f"{folder.name}.", folder.parent) as temporary:
        partial = temporary / "jars"
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "--file", str(pom)]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
        if answer.returncode:
            raise ServerUnavailableError(
                f"cannot get {what}: `{' '.join(command)}` ended with status {answer.returncode}.\n"
                + (answer.stdout + answer.stderr)[-3000:]
            )
        write_manifest(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)


def write_manifest(folder: Path) -> None:
    """Write down which jars exist, and the size of each."""
    (folder / MANIFEST).write_text(_listing(folder))


def is_complete(folder: Path) -> bool:
    """Return whether all jars of the folder's manifest exist with the same sizes."""
    manifest = folder / MANIFEST
    return manifest.is_file() and manifest.read_text() == _listing(folder)


def _listing(folder: Path) -> str:
    return "".join(f"{jar.stat().st_size} {jar.name}\n" for jar in sorted(folder.glob("*.jar")))
