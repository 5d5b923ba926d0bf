"""Finds variables, and entries in the file, that are not settings, and guesses what they were meant to be.

Such a name is not an error: the SDK, tests and other programs share the prefix. But a misspelt name must not go unnoticed: its
setting keeps the default, and everything looks fine.
"""

import difflib
import importlib
import os
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Final, NamedTuple

import settings
from settings.base import CONFIG_FILE_VARIABLE, PREFIX, Settings

SDK_SETTINGS: Final = frozenset(
    {
        "enabled",
        "executor",
        "linger_seconds",
        "namespace",
        "own_code",
        "pulsar_tls_trust_certs_file",
        "pulsar_tls_validate_hostname",
        "pulsar_token",
        "pulsar_token_file",
        "pulsar_url",
        "queue_max_bytes",
        "queue_max_events",
        "redact_keys",
        "release",
        "shutdown_timeout_seconds",
        "spool",
        "spool_after_seconds",
        "spool_dir",
        "spool_max_bytes",
        "topic",
    }
)
"""What the SDK reads from the environment; it is not imported here, and a test compares the two."""

_NOT_SETTINGS: Final = frozenset({CONFIG_FILE_VARIABLE, "JOBTRAIL_TRACEBACK", "JOBTRAIL_BARRIERS"})
_OF_TESTS: Final = re.compile(
    r"JOBTRAIL_(?:TEST|LAW|FAULTS)_\w+|JOBTRAIL_(?:OUTAGE_SECONDS|VERIFY_JOBS)", re.ASCII
)

# What Kubernetes sets in every pod for a Service of the namespace whose name begins with "jobtrail".
_OF_SERVICE: Final = re.compile(
    r"JOBTRAIL_(?:\w+_)?(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)",
    re.ASCII,
)
_ADDRESS_OF_SERVICE: Final = re.compile(r"(?:tcp|udp|sctp)://")

_NEAR: Final = 0.6
_NEAR_OF_OTHER_PREFIX: Final = 0.9
_LIKE_PREFIX: Final = "JOB"


class UnknownName(NamedTuple):
    """A name that is ignored, because no setting has it."""

    name: str
    file: str | None
    """The file of settings with this name; None: a variable."""
    nearest: str | None
    """The most similar name of a setting, if any."""

    def __str__(self) -> str:
        what = f"variable {self.name}" if self.file is None else f"setting {self.name} in {self.file!r}"
        meant = f"; did you mean {self.nearest}?" if self.nearest else ": no setting has such a name"
        return f"the {what} is ignored{meant}"


def unknown_names(environment: Mapping[str, str] = os.environ) -> list[UnknownName]:
    """Return the variables, and the entries in the file that JOBTRAIL_CONFIG_FILE names, that are not settings; sorted.

    Values are neither read nor returned. A file that cannot be read is skipped.
    """
    names = [name for name, value in environment.items() if value and name[:3].upper() == _LIKE_PREFIX]
    path = environment.get(CONFIG_FILE_VARIABLE)
    if not names and not path:
        return []
    found = [UnknownName(name, None, meant) for name, meant in _unknown_variables(names, environment)]
    if path:
        known = pipeline_settings()
        found += [
            UnknownName(name, path, _nearest(name.lower().removeprefix(PREFIX.lower()), known, _NEAR))
            for name in _names_in(path)
            if name not in known
        ]
    return sorted(found, key=lambda unknown: (unknown.file or "", unknown.name))


@lru_cache(maxsize=1)
def pipeline_settings() -> frozenset[str]:
    """Return the names of all settings of the services and commands, as written in the file."""
    return frozenset(
        name
        for module in pkgutil.iter_modules(settings.__path__)
        for thing in vars(importlib.import_module(f"settings.{module.name}")).values()
        if isinstance(thing, type) and issubclass(thing, Settings)
        for name in thing.model_fields
    )


def _unknown_variables(
    names: Iterable[str], environment: Mapping[str, str]
) -> Iterator[tuple[str, str | None]]:
    any_case = {f"{PREFIX}{name.upper()}" for name in pipeline_settings()}
    known = any_case | {f"{PREFIX}{name.upper()}" for name in SDK_SETTINGS} | _NOT_SETTINGS
    for name in names:
        upper = name.upper()
        if name in known or upper in any_case or _OF_TESTS.fullmatch(name):
            continue
        if upper.startswith(PREFIX):
            is_of_service = upper.endswith("_PORT") and _ADDRESS_OF_SERVICE.match(environment[name])
            if not is_of_service and not _OF_SERVICE.fullmatch(name):
                rest = {one.removeprefix(PREFIX) for one in known}
                nearest = _nearest(upper.removeprefix(PREFIX), rest, _NEAR)
                yield name, nearest and f"{PREFIX}{nearest}"
        else:
            nearest = _nearest(upper, known, _NEAR_OF_OTHER_PREFIX)
            if nearest:
                yield name, nearest


def _nearest(name: str, known: Iterable[str], cutoff: float) -> str | None:
    return next(iter(difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)), None)


def _names_in(path: str) -> list[str]:
    try:
        with open(path, "rb") as file:
            return list(tomllib.load(file))
    except (OSError, ValueError):  # loading the settings reports what is wrong with it
        return []
