"""The jars of the peer in benchmarks: Pulsar's JDBC sink for Postgres and its local runner, in the cache (270 MB, once)."""

import shutil
from pathlib import Path
from xml.etree import ElementTree

from servers.cache import cache_directory, locked
from servers.errors import ServerUnavailableError
from servers.maven import download, is_complete

POM = Path(__file__).with_name("peer_pom.xml")


def connector_version() -> str:
    """Return the version of the sink that peer_pom.xml names."""
    version = ElementTree.parse(POM).find(".//{*}connector.version")
    assert version is not None
    assert version.text
    return version.text


def peer_jars() -> Path:
    """Return the folder of the jars. Download them if they are missing or incomplete.

    Raises ServerUnavailableError if Maven is missing or fails.
    """
    folder = cache_directory() / f"pulsar-sink-{connector_version()}"
    if not is_complete(folder):
        with locked(folder.name):
            if not is_complete(folder):
                _download(folder)
    return folder


def runner_class_path(folder: Path) -> str:
    """Return every jar except the connector, which the runner loads by itself."""
    connector = _connector(folder)
    return ":".join(str(jar) for jar in sorted(folder.glob("*.jar")) if jar != connector)


def connector_archive(folder: Path, place: Path) -> Path:
    """Return a link to the connector in the folder ``place``, with the suffix `.nar` that the runner requires."""
    archive = place / _connector(folder).with_suffix(".nar").name
    archive.symlink_to(_connector(folder))
    return archive


def _connector(folder: Path) -> Path:
    return folder / f"pulsar-io-jdbc-postgres-{connector_version()}.jar"


def _download(folder: Path) -> None:
    what = f"Pulsar's JDBC sink {connector_version()}"
    if shutil.which("mvn") is None:
        raise ServerUnavailableError(f"cannot get {what}: no `mvn` on PATH (Maven fetches it, once)")
    download(POM, folder, what, megabytes=270)
