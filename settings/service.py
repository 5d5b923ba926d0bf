"""What every service has: where it listens, and how it logs."""

from typing import Literal

from pydantic import Field

from settings.base import Settings


class ServiceSettings(Settings):
    """Listening address of health and metrics, and the log."""

    listen_host: str = Field("127.0.0.1", description="address that health and metrics are served on")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="least level that is logged"
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="one line an event: for people, or for machines"
    )
