"""How settings are read: environment variables first, then the TOML file named by ``JOBTRAIL_CONFIG_FILE``.

A service composes its settings from the classes of this package and validates them as a whole at start. Secrets are
``SecretStr``, so neither an error nor a log line shows them; of all others the repr shows no password of a URL.
"""

import os
from collections.abc import Iterable
from typing import Any, Self

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

PREFIX = "JOBTRAIL_"
CONFIG_FILE_VARIABLE = "JOBTRAIL_CONFIG_FILE"


class Settings(BaseSettings):
    """Base of every settings class. Field ``pulsar_url`` is ``JOBTRAIL_PULSAR_URL``, and ``pulsar_url`` in the file."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
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
        """Read and validate. Overrides (command-line options) win; those that are None do not count.

        Raises SettingsError that names each variable, what it was and what was expected.
        """
        given = {name: value for name, value in overrides.items() if value is not None}
        try:
            return cls(**given)
        except ValidationError as error:
            problems = "; ".join(_problem(item) for item in error.errors(include_url=False))
            raise SettingsError(f"settings cannot be used: {problems}") from None
        except UnreadableSetting as error:
            raise SettingsError(
                f'settings cannot be used: {error}. A list is written as JSON, in a variable as well: ["5m", "1h"].'
            ) from None


def _shown(value: str) -> str:
    return shown_url(value) if "://" in value and "@" in value else redact(value)


def _problem(item: object) -> str:
    assert isinstance(item, dict)
    name = PREFIX + "_".join(str(part) for part in item["loc"]).upper()
    if item["type"] == "missing":
        return f"{name} is not set (set it in the environment or in the file named by {CONFIG_FILE_VARIABLE})"
    return f"{name}: {item['msg']}"
