# Written by `make contract` from schemas/redaction/__init__.py; do not edit. `make check` fails when it differs.
"""Redact secrets: in texts, by the names of values, and in addresses. Pure; only the standard library is imported.

The SDK may not import the pipeline, so it has a copy of this package (`jobtrail._redaction`). `make contract` writes the
copy and `make check` compares it, so that both sides have the same rules. `docs/security.md` says what they find.
"""

from jobtrail._redaction.names import Secrecy
from jobtrail._redaction.text import Redactor, redact
from jobtrail._redaction.urls import shown_url
from jobtrail._redaction.values import REDACTED

__all__ = ["REDACTED", "Redactor", "Secrecy", "redact", "shown_url"]
