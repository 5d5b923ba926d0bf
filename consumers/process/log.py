"""Logging of the services: events with fields to standard error, one per line."""

import io
import logging
import os
import sys
from typing import Final, TextIO, cast

import structlog

from schemas.redaction import REDACTED, Redactor
from settings.names import unknown_names
from settings.service import ServiceSettings

_REDACTOR: Final = Redactor()


def redact_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Redact the secrets in the fields of a log line, because errors quote addresses and messages of libraries."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = REDACTED if _REDACTOR.hides(name, value) else _REDACTOR.text(value)
    return event


def configure_log(settings: ServiceSettings, service: str) -> None:
    """Configure logging, with the service's name in every line. Call it once, at the start of a service."""
    if settings.log_format == "json":
        renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=False, pad_event_to=0)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            redact_secrets,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[settings.log_level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(cast("TextIO", _StandardError())),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)


def log_unknown_names() -> None:
    """Log every variable, and every entry in the file, that is not a setting."""
    log = structlog.get_logger(__name__)
    for unknown in unknown_names():
        log.warning(
            "unknown_setting",
            name=unknown.name,
            file=unknown.file,
            did_you_mean=unknown.nearest,
            then="is ignored",
        )


class _StandardError(io.TextIOBase):
    """Standard error until its reader closes it: a log without a reader must not stop a service."""

    def write(self, text: str) -> int:
        try:
            sys.stderr.write(text)
        except BrokenPipeError:
            self._discard()
        return len(text)

    def flush(self) -> None:
        try:
            sys.stderr.flush()
        except BrokenPipeError:
            self._discard()

    def _discard(self) -> None:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())
