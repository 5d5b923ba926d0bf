"""Settings of every service: where it listens, and how it logs."""

from typing import Literal

from pydantic import Field

from settings.base import Settings


class ServiceSettings(Settings):
    """The address of health and metrics, and the log."""

    listen_host: str = Field("127.0.0.1", description="address on which health and metrics are served")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="lowest level that is logged"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="one line for each event: `text` for people, `json` for programs"
    )
