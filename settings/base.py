"""Reads settings: environment variables first, then the TOML file named by ``JOBTRAIL_CONFIG_FILE``.

A service composes its settings from the classes of this package and validates them as a whole at start. Secrets are
``SecretStr``, so no error or log line shows them. The repr of the others hides passwords in URLs.
"""

import os
import tomllib
from collections.abc import Iterable
from typing import Any, Literal, Self, get_origin

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings.exceptions import SettingsError as UnreadableSetting

from schemas.errors import SettingsError
from schemas.redaction import redact, shown_url
from settings.durations import UNIT_SECONDS, duration_seconds, meant_duration

PREFIX = "JOBTRAIL_"
CONFIG_FILE_VARIABLE = "JOBTRAIL_CONFIG_FILE"

_QUOTED_CHARACTERS = 60
_UNITS_OF_NAMES = {"_seconds": 1, "_days": UNIT_SECONDS["d"]}


class Settings(BaseSettings):
    """Base of every settings class. Field ``pulsar_url`` is the variable ``JOBTRAIL_PULSAR_URL``, or ``pulsar_url`` in the file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        allow_inf_nan=False,  # neither is a number of seconds
        hide_input_in_errors=True,  # a wrong value may be a secret in the wrong variable
    )

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, _shown(value) if isinstance(value, str) else value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        path = os.environ.get(CONFIG_FILE_VARIABLE)
        if not path:
            return init_settings, env_settings
        if not os.path.isfile(path):
            raise SettingsError(
                f"{CONFIG_FILE_VARIABLE} names {path!r}, which is not a file: correct it or unset it."
            )
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=path)

    @classmethod
    def load(cls, **overrides: object) -> Self:
        """Read and validate the settings. Overrides (command-line options) win; those that are None do not count.

        Raises SettingsError with each wrong variable, its value and what was expected.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            problems = "; ".join(_problem(cls, item) for item in error.errors(include_url=False))
            raise SettingsError(f"settings cannot be used: {problems}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise SettingsError(
                f"{CONFIG_FILE_VARIABLE} names {os.environ.get(CONFIG_FILE_VARIABLE)!r}, which cannot be read: {error}. "
                "Expected a file in TOML."
            ) from None
        except UnreadableSetting as error:
            raise SettingsError(
                f'settings cannot be used: {error}. A list is written as JSON, in a variable as well: ["5m", "1h"].'
            ) from None


def _shown(value: str) -> str:
    return shown_url(value) if "://" in value and "@" in value else redact(value)


def _problem(settings_class: type[BaseSettings], item: Any) -> str:
    """Return what is wrong with one setting: its variable, what was expected, and its value unless that may be a secret."""
    name = str(item["loc"][0])
    variable = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    if item["type"] == "missing":
        return f"{variable} is not set (set it in the environment or in the file named by {CONFIG_FILE_VARIABLE})"
    if item["type"] == "value_error":  # one of our own validators; it names the value
        return f"{variable}: {item['msg'].removeprefix('Value error, ')}"
    field = settings_class.model_fields.get(name)
    if field is not None and field.examples and item["type"] == "string_pattern_mismatch":
        return f"{variable}: expected {' or '.join(field.examples)}, got something else"
    # "Input should be a valid number, unable to parse string as a number"
    expected = item["msg"].replace("Input should be", "expected").split(", unable to", 1)[0]
    given = item["input"]
    if field is None or not _is_plain(field.annotation):
        return f"{variable}: {expected}"
    quoted = repr(given if len(str(given)) <= _QUOTED_CHARACTERS else f"{str(given)[:_QUOTED_CHARACTERS]}…")
    return f"{variable}: {expected}, got {redact(quoted)}{_hint(name, given)}"


def _is_plain(annotation: Any) -> bool:
    """Return whether a setting of this type is a number, a switch or a choice, whose value is never a secret."""
    return annotation in (int, float, bool) or get_origin(annotation) is Literal


def _hint(name: str, given: Any) -> str:
    """Return a hint at what was probably meant by a value that is not a number."""
    if not isinstance(given, str):
        return ""
    if given.startswith("tcp://"):
        return ": Kubernetes sets this for a Service of that name; `enableServiceLinks: false` in the pod ends that"
    unit = next((unit for suffix, unit in _UNITS_OF_NAMES.items() if name.endswith(suffix)), None)
    seconds = duration_seconds(meant_duration(given) or "")
    if unit is None or seconds is None:
        return ""
    return f"; did you mean {seconds / unit:.15g}?"
