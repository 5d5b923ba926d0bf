"""How the services log: events with fields to standard error, one a line."""

import logging
import sys
from typing import Final

import structlog

from schemas.redaction import REDACTED, Redactor
from settings.service import ServiceSettings

_REDACTOR: Final = Redactor()


def redact_secrets(
    _logger: object, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    """Redact the secrets in the fields of a log line: errors quote addresses, and what libraries say of them."""
    for name, value in event.items():
        if isinstance(value, str):
            event[name] = REDACTED if _REDACTOR.hides(name, value) else _REDACTOR.text(value)
    return event


def configure_log(settings: ServiceSettings, service: str) -> None:
    """Call once, at the start of a service; every line names the service."""
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
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(service=service)
