"""The jars of a real Pulsar, downloaded with Maven from pom.xml into the cache (about 320 jars, 235 MB, once)."""

import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

from servers.cache import cache_directory, locked
from servers.errors import ServerUnavailableError
from servers.maven import download, is_complete

POM = Path(__file__).with_name("pom.xml")
MINIMUM_JAVA = 17


def pulsar_version() -> str:
    """Return the version that pom.xml names."""
    version = ElementTree.parse(POM).find(".//{*}pulsar.version")
    assert version is not None
    assert version.text
    return version.text


def java_problem() -> str | None:
    """Return what is missing of Java, or None."""
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
    """Return the folder of the jars. Download them if they are missing or incomplete.

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
    """Return what is missing to get the jars, or None. Maven is needed only if they are not in the cache."""
    if is_complete(cache_directory() / f"pulsar-{pulsar_version()}") or shutil.which("mvn"):
        return None
    return "no `mvn` on PATH (Maven fetches Pulsar's jars, once)"


def _download(folder: Path) -> None:
    problem = maven_problem()
    if problem:
        raise ServerUnavailableError(f"cannot get Pulsar {pulsar_version()}: {problem}")
    download(POM, folder, f"Pulsar {pulsar_version()}", megabytes=235)
