"""The SDK's settings: from ``configure()``, else from environment variables, else defaults.

They are read when the first event is made, never at import. The variables have the names of the pipeline's settings.
"""

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final, Self

from jobtrail._classify import Categories
from jobtrail._errors import ConfigurationError
from jobtrail._redaction import Redactor, redact, shown_url
from jobtrail._text import EXECUTOR_LIMIT, NAMESPACE_LIMIT, RELEASE_LIMIT, identifier, show

logger = logging.getLogger("jobtrail")

PREFIX: Final = "JOBTRAIL_"

_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off"}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Every setting of the SDK. ``pulsar_url`` is ``JOBTRAIL_PULSAR_URL`` in the environment, and so on."""

    namespace: str = "default"
    """The system that the jobs belong to, such as cinegraph-production."""
    release: str = ""
    """The version of the jobs' code."""
    executor: str = ""
    """The process that runs the jobs; host and process id when empty."""
    enabled: bool = True
    """False: nothing is recorded or sent (for your own tests)."""

    pulsar_url: str = field(default="pulsar://127.0.0.1:6650", repr=False)
    topic: str = "persistent://jobtrail/lifecycle/job-events"
    pulsar_token: str | None = field(default=None, repr=False)
    pulsar_token_file: str | None = None
    pulsar_tls_trust_certs_file: str | None = None
    pulsar_tls_validate_hostname: bool = True

    queue_max_events: int = 10_000
    """The most events held for sending; further ones are dropped and counted."""
    queue_max_bytes: int = 16 * 1024 * 1024
    """The most bytes of events held for sending, estimated."""
    linger_seconds: float = 0.05
    """How long the sender gathers events before it sends them."""
    shutdown_timeout_seconds: float = 5.0
    """How long the program's exit waits for events to be sent."""
    spool: bool = True
    """Whether events that the broker does not take go to disk, and are sent later. Not on Windows."""
    spool_dir: str = ""
    """The spool's directory; `jobtrail/spool` in the user's state directory when empty. Programs may share it."""
    spool_max_bytes: int = 256 * 1024 * 1024
    """The most bytes in the spool directory, for all programs that share it together."""
    spool_after_seconds: float = 1.0
    """How long the broker may keep an event waiting before the spool takes it."""

    categories: Categories = field(default_factory=dict)
    """Error categories by exception class or its dotted name; looked up before the default table."""
    own_code: tuple[str, ...] = ()
    """Modules (and all below them) in which the origin of a failure is looked for."""
    redact_keys: tuple[str, ...] = ()
    """Further names of secrets, to be found anywhere in a name, beside those that the rules know."""
    redactor: Redactor = field(init=False, repr=False, compare=False)
    """The rules of redaction, with these names."""

    def __post_init__(self) -> None:
        for name, check, cure in _CHECKS:
            value = getattr(self, name)
            if not check(value):
                shown = shown_url(value) if name == "pulsar_url" and isinstance(value, str) else value
                raise ConfigurationError(f"{name} is {show(shown, 500)}: {cure}")
        object.__setattr__(self, "redactor", Redactor(self.redact_keys))
        object.__setattr__(self, "namespace", identifier(self.namespace, NAMESPACE_LIMIT))
        object.__setattr__(self, "release", identifier(self.release, RELEASE_LIMIT))
        executor = self.executor or f"{socket.gethostname()}:{os.getpid()}"
        object.__setattr__(self, "executor", identifier(executor, EXECUTOR_LIMIT))

    @classmethod
    def load(cls, environment: Mapping[str, str], **given: Any) -> Self:
        """Return the settings; an argument wins over the environment.

        Raises ConfigurationError when an argument cannot be used. A variable that cannot be used is logged and
        ignored: the environment must not stop a job.
        """
        unknown = given.keys() - {item.name for item in fields(cls) if item.init}
        if unknown:
            known = ", ".join(item.name for item in fields(cls) if item.init)
            raise ConfigurationError(f"{', '.join(sorted(unknown))}: no such setting; there are {known}")
        read = {}
        for name, parse in _PARSERS.items():
            text = environment.get(PREFIX + name.upper(), "")
            if not text or given.get(name) is not None:
                continue
            try:
                value = parse(text)
                cls(**{name: value})
            except (ValueError, TypeError) as error:
                logger.warning("%s%s is not used: %s", PREFIX, name.upper(), redact(str(error)))
            else:
                read[name] = value
        return cls(**read, **{name: value for name, value in given.items() if value is not None})


def state_directory(environment: Mapping[str, str], system: str = sys.platform) -> Path:
    """Return the default directory of the spool. Raises RuntimeError when the user has no home directory."""
    if system == "darwin":
        return Path.home() / "Library" / "Application Support" / "jobtrail" / "spool"
    given = environment.get("XDG_STATE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".local" / "state"
    return base / "jobtrail" / "spool"


def _strings(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(part.strip() for part in value if part.strip())


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError(f"expected true or false, got {text!r}")


_PARSERS: Final[dict[str, Callable[[str], Any]]] = {
    "namespace": str,
    "release": str,
    "executor": str,
    "enabled": _boolean,
    "pulsar_url": str,
    "topic": str,
    "pulsar_token": str,
    "pulsar_token_file": str,
    "pulsar_tls_trust_certs_file": str,
    "pulsar_tls_validate_hostname": _boolean,
    "queue_max_events": int,
    "queue_max_bytes": int,
    "linger_seconds": float,
    "shutdown_timeout_seconds": float,
    "spool": _boolean,
    "spool_dir": str,
    "spool_max_bytes": int,
    "spool_after_seconds": float,
    "own_code": lambda text: _strings(text.split(",")),
    "redact_keys": lambda text: _strings(text.split(",")),
}


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _between(low: float, high: float) -> Callable[[object], bool]:
    return lambda value: isinstance(value, int | float) and low <= value <= high


def _is_file(value: object) -> bool:
    return value is None or (isinstance(value, str) and Path(value).is_file())


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping) and all(
        isinstance(category, str)
        and (isinstance(key, str) or (isinstance(key, type) and issubclass(key, BaseException)))
        for key, category in value.items()
    )


def _are_texts(value: object) -> bool:
    return isinstance(value, tuple | list | frozenset | set) and all(isinstance(item, str) for item in value)


_CHECKS: Final[tuple[tuple[str, Callable[[Any], bool], str], ...]] = (
    ("namespace", lambda value: _is_text(value) and value != "", "give the name of your system, not empty"),
    ("release", _is_text, "give a string"),
    ("executor", _is_text, "give a string"),
    (
        "pulsar_url",
        lambda value: _is_text(value) and value.startswith(("pulsar://", "pulsar+ssl://")),
        "give pulsar://host:6650 or pulsar+ssl://host:6651",
    ),
    (
        "topic",
        lambda value: _is_text(value) and value.startswith("persistent://") and value.count("/") == 4,
        "give persistent://tenant/namespace/topic",
    ),
    ("pulsar_token_file", _is_file, "give a file that exists"),
    ("pulsar_tls_trust_certs_file", _is_file, "give a PEM file that exists"),
    ("queue_max_events", _between(1, 10_000_000), "give a number from 1 to 10,000,000"),
    ("queue_max_bytes", _between(64 * 1024, 2**34), "give a number of bytes from 65,536"),
    ("linger_seconds", _between(0, 10), "give seconds from 0 to 10"),
    ("shutdown_timeout_seconds", _between(0, 600), "give seconds from 0 to 600"),
    ("spool_dir", _is_text, "give a directory"),
    ("spool_max_bytes", _between(64 * 1024, 2**40), "give a number of bytes from 65,536"),
    ("spool_after_seconds", _between(0, 600), "give seconds from 0 to 600"),
    ("categories", _is_table, "map exception classes, or their dotted names, to categories"),
    ("own_code", _are_texts, 'give a tuple of module names: ("myapp",)'),
    ("redact_keys", _are_texts, 'give a tuple of names: ("pesel",)'),
)
