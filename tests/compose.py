"""Reads docker-compose.yml, Dockerfile and .dockerignore as a Docker engine does, for a machine without one.

Only the syntax that these three files use is known; anything else fails.
"""

import fnmatch
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "docker-compose.yml"
DOCKERFILE = ROOT / "Dockerfile"
DOCKERIGNORE = ROOT / ".dockerignore"
PROMETHEUS = ROOT / "deploy" / "prometheus" / "prometheus.yml"

Services = dict[str, dict[str, Any]]

_VARIABLE = re.compile(r"\$(?:\{(\w+):\?([^}]*)\}|(\$)|(.))")


class UnsetVariableError(Exception):
    """A variable that the file requires is not set; the message is the one that compose prints."""


class Published(NamedTuple):
    """One entry of `ports`: an address of the host for a port of the container."""

    host: str
    host_port: int | None
    container_port: int


def services(environment: Mapping[str, str]) -> Services:
    """Return all services, with variables filled in and anchors resolved. Raises UnsetVariableError."""
    found: Services = _filled_in(yaml.safe_load(COMPOSE.read_text()), environment)["services"]
    return found


def in_order(all_services: Services) -> Iterator[str]:
    """Yield the names of the services, each after its dependencies."""
    left = {name: set(service.get("depends_on", {})) for name, service in all_services.items()}
    while left:
        free = [name for name, waits_for in left.items() if not waits_for & left.keys()]
        assert free, f"these services wait for each other, or for one that does not exist: {left}"
        for name in free:
            del left[name]
            yield name


def published(service: Mapping[str, Any]) -> list[Published]:
    """Return the ports that the service publishes on the host."""
    found = []
    for entry in service.get("ports", []):
        host, host_port, container_port = entry.split(":")
        found.append(Published(host, int(host_port) if host_port else None, int(container_port)))
    return found


def environment_of(service: Mapping[str, Any]) -> dict[str, str]:
    """Return its environment, with values as text."""
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def command_of(service: Mapping[str, Any]) -> list[str]:
    """Return the words that start it: the entry point, if it uses our image, and its command."""
    words: list[str] = service["command"]
    assert isinstance(words, list), f"expected a list of words, got {words!r}"
    return [*image_entrypoint(), *words] if "build" in service else words


def seconds(duration: str) -> int:
    """Convert a duration such as 90s or 2m to seconds."""
    return int(duration[:-1]) * {"s": 1, "m": 60}[duration[-1]]


def instructions() -> list[tuple[str, str]]:
    """Return the Dockerfile as pairs of instruction and arguments."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if line and not line.startswith("#")]
    return [
        (word, rest) for word, _, rest in (line.partition(" ") for line in "\n".join(lines).replace("\\\n", " ").split("\n"))
    ]  # fmt: skip


def image_entrypoint() -> list[str]:
    """Return the entry point of the image."""
    (words,) = (json.loads(rest) for word, rest in instructions() if word == "ENTRYPOINT")
    found: list[str] = words
    return found


def copy_context(folder: Path) -> None:
    """Copy the build context into a folder: the files that .dockerignore lets through."""
    lines = [line for line in DOCKERIGNORE.read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*", "expected a `*`, followed by the list of what is let through"
    unwanted = [line.removeprefix("**/") for line in lines if line.startswith("**/")]
    wanted = [line.removeprefix("!") for line in lines if line.startswith("!")]
    assert len(lines) == 1 + len(unwanted) + len(wanted), f"{DOCKERIGNORE.name} has lines of another form"
    for name in wanted:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=_ignoring(unwanted))
        else:
            shutil.copy(ROOT / name, target)


def _ignoring(patterns: list[str]) -> Any:
    def chosen(_folder: str | os.PathLike[str], names: list[str]) -> set[str]:
        return {name for name in names if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)}

    return chosen


def _filled_in(node: Any, environment: Mapping[str, str]) -> Any:
    """Fill in variables after reading the YAML, so that a value may contain any character."""
    if isinstance(node, dict):
        return {key: _filled_in(value, environment) for key, value in node.items()}
    if isinstance(node, list):
        return [_filled_in(value, environment) for value in node]
    return _VARIABLE.sub(lambda found: _value(found, environment), node) if isinstance(node, str) else node


def _value(found: re.Match[str], environment: Mapping[str, str]) -> str:
    name, complaint, dollar, other = found.groups()
    if dollar:
        return "$"
    assert not other, f"unknown use of `$`: {found[0]!r}"
    if not environment.get(name):
        raise UnsetVariableError(f"{name}: {complaint}")
    return environment[name]


def scrape_targets() -> list[tuple[str, str, int]]:
    """Return (job, service, port) of every target in Prometheus' configuration."""
    found = []
    for job in yaml.safe_load(PROMETHEUS.read_text())["scrape_configs"]:
        for names in job.get("dns_sd_configs", []):
            assert names["type"] == "A"
            found += [(job["job_name"], name, names["port"]) for name in names["names"]]
        for targets in job.get("static_configs", []):
            found += [
                (job["job_name"], host, int(port))
                for host, _, port in (target.partition(":") for target in targets["targets"])
            ]
    return found
