"""Redacting secrets: in texts, by the names of values, in addresses. Standard library only, and pure.

The SDK may import nothing of ours, so it has a copy of this package (`jobtrail._redaction`), written by `make contract`
and compared by `make check`: the rules are these on both sides. `docs/security.md` says what they find and what not.
"""

from schemas.redaction.names import Secrecy
from schemas.redaction.text import Redactor, redact
from schemas.redaction.urls import shown_url
from schemas.redaction.values import REDACTED

__all__ = ["REDACTED", "Redactor", "Secrecy", "redact", "shown_url"]
