"""Shorten names that are too long for an event, so that two different names stay different.

The SDK shortens long ids by the same rule, so it does not matter which of the two shortens a name.
"""

import hashlib
from collections.abc import Iterable

from publishers.wfformat.fields import quoted
from schemas.errors import InputError

_DIGEST_BYTES = 16
_MARK = "~"


def shorten(text: str, most_bytes: int) -> str:
    """Return a text of at most ``most_bytes`` of UTF-8. A longer text keeps its beginning and ends with a hash.

    The hash is that of the whole text, so equal texts give equal names in every import, and different texts do not.
    """
    encoded = text.encode()
    if len(encoded) <= most_bytes:
        return text
    digest = hashlib.blake2b(encoded, digest_size=_DIGEST_BYTES).hexdigest()
    kept = encoded[: most_bytes - len(_MARK) - len(digest)].decode(errors="ignore")
    return f"{kept}{_MARK}{digest}"


def check_distinct(where: str, texts: Iterable[str], most_bytes: int) -> None:
    """Raise InputError when two different texts become equal by shortening. That takes a file made for it."""
    whole: dict[str, str] = {}
    for text in texts:
        other = whole.setdefault(shorten(text, most_bytes), text)
        if other != text:
            raise InputError(
                f"{where}: two different names become the same when they are shortened to {most_bytes} bytes: "
                f"{quoted(other)} and {quoted(text)}: rename one of them."
            )
