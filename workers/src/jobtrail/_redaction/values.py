# Written by `make contract` from schemas/redaction/values.py; do not edit. `make check` fails when it differs.
"""Recognizes values that are not secrets although they are beside the name of one. Pure.

They are kept (`token: expired`, `password=None`, `auth: basic`, `tokens=512`), because without them the text would lose
its meaning for no benefit.
"""

import re
from typing import Final

from jobtrail._redaction.names import Secrecy
from jobtrail._redaction.patterns import lazily

REDACTED: Final = "[redacted]"
"""The replacement of a secret. Always the same, so that failures that differ only in a secret stay in one group."""

_CONSTANTS: Final = frozenset(
    {"none", "null", "nil", "undefined", "nan", "true", "false", "yes", "no", "on", "off"}
    | {"n/a", "na", "empty", "unset"}
)
# Types, as in signatures and annotations.
TYPES: Final = frozenset(
    {"str", "bytes", "int", "float", "bool", "string", "any", "object", "dict", "list"}
    | {"tuple", "secretstr", "optional", "type", "callable", "union", "sequence", "mapping"}
)
_WAYS_TO_AUTHENTICATE: Final = frozenset(
    {"md5", "sha1", "sha256", "sha512"}
    | {"basic", "bearer", "digest", "ntlm", "kerberos", "negotiate", "oauth", "oauth1"}
    | {"oauth2", "oidc", "saml", "ldap", "jwt", "mtls", "tls", "apikey", "api_key", "anonymous"}
    | {"plain", "password", "token", "cookie", "session", "local"}
)
# Words that follow "password: " or "Bearer " in sentences.
_WORDS_OF_SENTENCES: Final = frozenset(
    {"a", "an", "the", "is", "was", "be", "are", "has", "had", "have", "not", "no", "and"}
    | {"or", "of", "for", "to", "in", "on", "at", "by", "with", "from", "as", "if", "it"}
    | {"this", "that", "must", "may", "can", "cannot", "should", "could", "will", "would"}
    | {"does", "do", "did", "too", "only", "any", "all", "use", "using", "used", "given", "got"}
    | {"get", "set", "see", "ok", "okay", "error", "errors", "failed", "failure", "fails"}
    | {"expired", "expires", "expiry", "invalid", "incorrect", "wrong", "bad", "missing"}
    | {"required", "requires", "unknown", "unexpected", "expected", "rejected", "refused"}
    | {"denied", "revoked", "malformed", "mismatch", "mismatched", "changed", "reset", "closed"}
    | {"opened", "open", "created", "deleted", "removed", "updated", "refreshed", "found"}
    | {"valid", "validated", "verified", "absent", "present", "provided", "supplied", "sent"}
    | {"received", "accepted", "ignored", "needed", "allowed", "forbidden", "unauthorized"}
    | {"unauthenticated", "unsupported", "supported", "disabled", "enabled", "stale", "lost"}
    | {"token", "tokens", "auth", "authentication", "authorization", "authenticated", "scheme"}
    | {"header", "headers", "realm", "key", "keys", "password", "passwords", "credential"}
    | {"credentials", "cookie", "cookies", "session", "sessions", "signature", "usage"}
    | {"usages", "type", "format", "method", "field", "value", "login", "please", "check"}
    | {"enter", "try", "can't", "won't", "doesn't", "isn't", "wasn't", "unable", "permission"}
    | {"access", "request", "response", "server", "client", "user", "users", "end", "eof"}
    | {"while", "when"}
)
_MASKED: Final = lazily(
    r"[*•●xX.…_-]{2,}|\*|[*•]{2,}\w{0,4}|%[sdr]|%\(\w{1,60}\)s|\$\{\w{1,60}\}|\{\{[\w .]{1,60}\}\}"
    r"|[\[<(](?:redacted|filtered|masked|hidden|removed|scrubbed|sensitive|secret|omitted)[\])>]|redacted|filtered",
    re.IGNORECASE,
)
_PUNCTUATION: Final = ".,:;!?…'\""
_WITHIN_WORDS: Final = "._-'’/,:;()"
_SMALL_NUMBER: Final = lazily(r"[+-]?\d{1,3}")
_NUMBER: Final = lazily(r"[+-]?\d{1,12}(?:\.\d{1,12})?%?")


def is_masked(text: str) -> bool:
    """Return whether a value was redacted before, or is a placeholder: ``***``, ``${TOKEN}``, ``%s``."""
    return text.startswith(REDACTED) or (len(text) <= 80 and _MASKED.fullmatch(text) is not None)


def is_harmless(text: str, secrecy: Secrecy, *, plural: bool = False) -> bool:
    """Return whether a value beside the name of a secret is not a secret: empty, a constant, or masked.

    If the name only probably means a secret, also a small number, any number after a plural (``tokens=512``), and a method of
    authentication (``auth=basic``).
    """
    plain = text.strip()
    if not plain or is_masked(plain):
        return True
    word = plain.lower()
    if word in _CONSTANTS:
        return True
    if secrecy is Secrecy.CERTAIN:
        return False
    return (
        word in _WAYS_TO_AUTHENTICATE
        or (_NUMBER if plural else _SMALL_NUMBER).fullmatch(plain) is not None
        or (plain.startswith("<") and plain.endswith(">"))
    )


def is_sentence(text: str) -> bool:
    """Return whether a word continues a sentence or names a type: ``expired``, ``is``, ``str``."""
    word = text.rstrip("]})").strip(_PUNCTUATION).lower()
    return word in _WORDS_OF_SENTENCES or word in TYPES or word in _CONSTANTS or not word


def looks_random(text: str) -> bool:
    """Return whether a text is more than a word: long, or a mixture of letters with digits or other signs."""
    return len(text) >= 16 or (
        len(text) >= 6
        and any(character.isalpha() for character in text)
        and any(not character.isalpha() and character not in _WITHIN_WORDS for character in text)
    )
