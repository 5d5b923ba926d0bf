"""Why a message becomes a dead letter: a bounded set of words, for counting. docs/dead-letters.md explains each."""

from enum import StrEnum


class DeadLetterReason(StrEnum):
    """The value is the word that tables, metrics and the command line show."""

    NO_SCHEMA = "no_schema"
    """The message has no schema version."""
    UNKNOWN_SCHEMA = "unknown_schema"
    """The broker does not have the schema version in the message."""
    FOREIGN_SCHEMA = "foreign_schema"
    """Events of the message's schema cannot be read as JobEvent."""
    MALFORMED = "malformed"
    """The bytes are not an event of the message's schema."""
    TRAILING_BYTES = "trailing_bytes"
    """Bytes are left over after the event."""
    MISSING_FIELD = "missing_field"
    """A required field is empty."""
    UNKNOWN_STATE = "unknown_state"
    """This release does not know the state."""
    OUT_OF_RANGE = "out_of_range"
    """A number or a time is outside the range of the tables."""
    TOO_LONG = "too_long"
    """A text or a list is longer than its limit."""
    NUL_IN_TEXT = "nul_in_text"
    """A text holds a NUL character, which Postgres cannot store."""
    TOO_LARGE = "too_large"
    """The payload is larger than an event may be."""
    ENCRYPTED = "encrypted"
    """Pulsar's client encrypted the payload, and jobtrail has no keys."""
    REFUSED_BY_DATABASE = "refused_by_database"
    """Postgres refused the event for a reason that none of the checks above covers."""
