"""Every error the pipeline raises on purpose, in one tree.

A message says what was expected and what was found, where, and how to cure it. Branch on the class, never on the text.
"""

from schemas.dead_letter_reasons import DeadLetterReason


class JobtrailError(Exception):
    """The top of the tree; the command line prints its message and ends with status 2."""


class DecodeError(JobtrailError):
    """A payload is not a whole, valid event. ``reason`` is why, for counting.

    ``field`` is the one that is wrong; '' where it is the whole payload, or its schema.
    """

    def __init__(self, reason: DeadLetterReason, detail: str, field: str = "") -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.field = field


class SchemaError(JobtrailError):
    """A schema breaks the rules of evolution, or the one a message was written with cannot be had."""


class SettingsError(JobtrailError):
    """A setting is missing or out of its range."""


class BrokerError(JobtrailError):
    """The broker refused, or cannot be reached."""


class StoreError(JobtrailError):
    """The database refused, cannot be reached, or is of another version than this code."""


class InputError(JobtrailError):
    """What a person gave (a file, an argument) cannot be used."""


class NotFoundError(JobtrailError):
    """What was asked about does not exist: the answer is no, and the command line ends with status 1."""
