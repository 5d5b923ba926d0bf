"""The jars of a real Pulsar, resolved by Maven from pom.xml into the cache (about 320 jars, 235 MB, once)."""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from servers.cache import cache_directory, locked
from servers.errors import ServerUnavailableError

POM = Path(__file__).with_name("pom.xml")
MANIFEST = "FILES.txt"
MINIMUM_JAVA = 17
DOWNLOAD_TIMEOUT_SECONDS = 20 * 60


def pulsar_version() -> str:
    """Return the version that pom.xml names."""
    version = ElementTree.parse(POM).find(".//{*}pulsar.version")
    assert version is not None
    assert version.text
    return version.text


def java_problem() -> str | None:
    """Say what is missing of Java, or None."""
    java = shutil.which("java")
    if java is None:
        return f"no `java` on PATH (Java {MINIMUM_JAVA} or later is needed)"
    answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', answer.stderr + answer.stdout)
    if found is None or int(found[1]) < MINIMUM_JAVA:
        said = (answer.stderr or answer.stdout).partition("\n")[0] or "nothing"
        return f"`java -version` says {said!r} (Java {MINIMUM_JAVA} or later is needed)"
    return None


def jars() -> Path:
    """Return the folder of the jars, downloading them if they are not there or not complete.

    Raises ServerUnavailableError if Maven is missing or fails.
    """
    folder = cache_directory() / f"pulsar-{pulsar_version()}"
    if is_complete(folder):
        return folder
    with locked(folder.name):
        if not is_complete(folder):
            _download(folder)
    return folder


def maven_problem() -> str | None:
    """Say what is missing to have the jars, or None: Maven is needed only where they are not in the cache."""
    if is_complete(cache_directory() / f"pulsar-{pulsar_version()}") or shutil.which("mvn"):
        return None
    return "no `mvn` on PATH (Maven fetches Pulsar's jars, once)"


def _download(folder: Path) -> None:
    problem = maven_problem()
    if problem:
        raise ServerUnavailableError(f"cannot get Pulsar {pulsar_version()}: {problem}")
    print(f"downloading Pulsar {pulsar_version()} into {folder} (235 MB, once)", file=sys.stderr, flush=True)
    # In a folder beside the last one, which gets its name only when it is whole.
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as temporary:
        partial = Path(temporary) / "jars"
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "--file", str(POM)]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
        if answer.returncode:
            raise ServerUnavailableError(
                f"cannot get Pulsar {pulsar_version()}: `{' '.join(command)}` ended with status {answer.returncode}.\n"
                + (answer.stdout + answer.stderr)[-3000:]
            )
        write_manifest(partial)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)


def write_manifest(folder: Path) -> None:
    """Note which jars there are, and how large each is."""
    (folder / MANIFEST).write_text(_listing(folder))


def is_complete(folder: Path) -> bool:
    """Say whether all jars noted in the folder's manifest are there, each as large as it was."""
    manifest = folder / MANIFEST
    return manifest.is_file() and manifest.read_text() == _listing(folder)


def _listing(folder: Path) -> str:
    return "".join(f"{jar.stat().st_size} {jar.name}\n" for jar in sorted(folder.glob("*.jar")))
