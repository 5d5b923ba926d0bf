"""Every error that the pipeline raises on purpose, in one tree.

A message says what was expected, what was found, where, and how to cure it. Branch on the class, never on the text.
"""

from schemas.dead_letter_reasons import DeadLetterReason
from schemas.redaction import redact


class JobtrailError(Exception):
    """The top of the tree. The command line prints its message and exits with status 2.

    Secrets in the message are redacted, because it may quote a library's message, which may quote an address.
    """

    def __init__(self, *parts: object) -> None:
        super().__init__(*(redact(part) if isinstance(part, str) else part for part in parts))


class DecodeError(JobtrailError):
    """A payload is not a complete, valid event. ``reason`` says why, for counting.

    ``field`` is the wrong field; '' when the whole payload or its schema is wrong.
    """

    def __init__(self, reason: DeadLetterReason, detail: str, field: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.field = field


class SchemaError(JobtrailError):
    """A schema breaks the rules of evolution, or events written with it cannot be read."""


class SettingsError(JobtrailError):
    """A setting is missing or out of its range."""


class BrokerError(JobtrailError):
    """The broker refused a request, or cannot be reached."""


class BrokerAwayError(BrokerError):
    """The broker is not running yet, or is starting: that passes by itself, and waiting helps."""


class StoreError(JobtrailError):
    """The database refused a statement, cannot be reached, or has another version than this code."""


class DatabaseAwayError(StoreError):
    """The database is not running yet, is starting, or went away: that passes by itself, and waiting helps."""


class InputError(JobtrailError):
    """A file or an argument that a person gave cannot be used."""


class OutputError(JobtrailError):
    """The answer cannot be written: the disk is full, or the reader has closed the output."""


class NotFoundError(JobtrailError):
    """The job, run, group or name in the query does not exist. The command line exits with status 1."""
