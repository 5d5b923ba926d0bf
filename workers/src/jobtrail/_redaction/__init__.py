# Written by `make contract` from schemas/redaction/__init__.py; do not edit. `make check` fails when it differs.
"""Redacting secrets: in texts, by the names of values, in addresses. Standard library only, and pure.

The SDK may import nothing of ours, so it has a copy of this package (`jobtrail._redaction`), written by `make contract`
and compared by `make check`: the rules are these on both sides. `docs/security.md` says what they find and what not.
"""

from jobtrail._redaction.names import Secrecy
from jobtrail._redaction.text import Redactor, redact
from jobtrail._redaction.urls import shown_url
from jobtrail._redaction.values import REDACTED

__all__ = ["REDACTED", "Redactor", "Secrecy", "redact", "shown_url"]
