"""Decide which failures are the same: a pure function of one event's error. Version 1.

The version is stored with the derived tables, and only a rebuild changes it. So a change here that alters any result needs a
new version. What varies in a message (numbers, ids, times, addresses, paths, quoted data) is masked: boldly if the origin in
the code already distinguishes failures, carefully if there is only the message.
"""

import re
from functools import lru_cache
from hashlib import blake2b
from typing import Final

VERSION: Final = 1

# Characters of a message that are read, and of the masked message that count: the first bound is well above the
# second, so that a shorter number before the cut does not move other text across it.
_LONGEST = 1_000
_KEY = 300
_TITLE = 200
_CACHED = 20_000
_NAMES = 300

# The order matters: rules for texts that contain digits come before the rule for digits. Every quantifier is bounded.
_CAREFUL: Final = tuple(
    (re.compile(pattern), mask)
    for pattern, mask in (
        (r"\b[a-zA-Z][a-zA-Z0-9+.-]{1,15}://[^\s'\"<>]{1,300}", "<url>"),
        (r"\b[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,5}\b", "<email>"),
        (r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", "<uuid>"),
        (r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?", "<time>"),
        (r"\b\d{1,2}:\d\d(?::\d\d(?:\.\d{1,9})?)?\b", "<time>"),
        (r"\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?\b", "<host>"),
        (
            r"(?<![\w])/(?:home|tmp|var|usr|opt|etc|srv|mnt|data|root|app|proc|run)(?:/[^\s'\":,;()\[\]]{1,200}){1,20}",
            "<path>",
        ),
        (r"\b0x[0-9a-fA-F]{1,32}\b", "<hex>"),
        (r"\b(?=[0-9a-fA-F]{0,63}\d)(?=[0-9a-fA-F]{0,63}[a-fA-F])[0-9a-fA-F]{7,64}\b", "<hex>"),
    )
)
# A status, an exit code or an error number distinguishes failures, so it is kept.
_KEPT: Final = re.compile(
    r"(?i)\b((?:http(?:/\d\.\d)?|status(?: code)?|exit(?: code| status)?|errno|error code|sqlstate|code|signal)"
    r"[ :=#\[(]{0,3})(\d{1,5})\b"
)
_DIGITS: Final = re.compile(r"\d+(?:[.,]\d+)*")
_QUOTED: Final = re.compile(
    r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`|«[^»\n]{1,200}»|„[^”\n]{1,200}”|“[^”\n]{1,200}”"
)
_COLLAPSE: Final = re.compile(r"<\*>(?:[\s,;:./|_-]{0,3}<\*>)+")
_PLACEHOLDER: Final = re.compile(r"<[a-z]+>")
_SPACE: Final = re.compile(r"\s+")


def fingerprint(error_type: str, message: str, origin: str, published: str) -> str:
    """Return the publisher's own fingerprint if there is one, else a hash of the origin and the masked message."""
    return published or _looked_at(error_type[:_NAMES], message[:_LONGEST], origin[:_NAMES])[0]


def id_of_group(key: tuple[str, str, str, str, str]) -> str:
    """Return the id of a failure group, a UUID in hexadecimal digits: a hash of its key.

    ``key`` is (namespace, source, category, type, fingerprint). No text holds a NUL, so joining by it keeps them apart.
    """
    return blake2b("\0".join(key).encode(), digest_size=16).hexdigest()


def title(error_type: str, message: str, origin: str) -> str:
    """Return the title of the failure's group: the message on one line, with its variable parts masked."""
    return _looked_at(error_type[:_NAMES], message[:_LONGEST], origin[:_NAMES])[1]


@lru_cache(maxsize=_CACHED)
def _looked_at(error_type: str, message: str, origin: str) -> tuple[str, str]:
    """Return fingerprint and title. Both come from the same masked message, and masking is what takes the time."""
    masked = mask(message, bold=bool(origin))
    key = _COLLAPSE.sub("<*>", _PLACEHOLDER.sub("<*>", masked))[:_KEY]
    digest = blake2b(f"{origin}\0{error_type}\0{key}".encode(), digest_size=8).hexdigest()
    return digest, masked[:_TITLE] or _SPACE.sub(" ", error_type[:_TITLE]).strip()


def mask(message: str, *, bold: bool) -> str:
    """Return the message with placeholders for its variable parts. ``bold`` masks quoted data as well."""
    text = message
    for pattern, placeholder in _CAREFUL:
        text = pattern.sub(placeholder, text)
    text = _KEPT.sub(_keep, text)
    if bold:
        text = _QUOTED.sub("<text>", text)
    text = _DIGITS.sub("<n>", text).translate(_UNKEEP)
    return _SPACE.sub(" ", text).strip()


# While the other digits are masked, those to be kept are replaced by private-use characters.
_KEEP: Final = {ord(str(digit)): 0xE000 + digit for digit in range(10)}
_UNKEEP: Final = {0xE000 + digit: str(digit) for digit in range(10)}


def _keep(found: re.Match[str]) -> str:
    return found[1] + found[2].translate(_KEEP)
