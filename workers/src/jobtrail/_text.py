"""Make any text fit for an event: valid UTF-8 without NUL, within a limit in bytes. Pure.

Ids and names have the limits of the contract, other texts the SDK's own. Nothing here raises, except `show`.
"""

import hashlib
from collections.abc import Mapping
from typing import Final

from jobtrail._redaction import REDACTED, Redactor, redact

NAMESPACE_LIMIT: Final = 200
JOB_ID_LIMIT: Final = 500
WORKER_LIMIT: Final = 300
QUEUE_LIMIT: Final = 200
SOURCE_LIMIT: Final = 300
EXTERNAL_ID_LIMIT: Final = 500
RELEASE_LIMIT: Final = 200
EXECUTOR_LIMIT: Final = 300
CATEGORY_LIMIT: Final = 100
ERROR_TYPE_LIMIT: Final = 300
ORIGIN_LIMIT: Final = 500
FINGERPRINT_LIMIT: Final = 500
MESSAGE_LIMIT: Final = 4 * 1024
STACKTRACE_LIMIT: Final = 16 * 1024
ARGS_LIMIT: Final = 8 * 1024
EXPECTED_CHILDREN_ENTRIES: Final = 1_000
META_ENTRIES: Final = 50
META_KEY_LIMIT: Final = 200
META_VALUE_LIMIT: Final = 1024

_REPLACEMENT: Final = "�"
_CUT_MARK: Final = "…[cut]"
# The outermost part keeps this share of a stack trace that is too long; the innermost part says more.
_HEAD_SHARE: Final = 0.25
# Look for secrets in this many times the limit, because redacting makes a text shorter.
_LOOKED_AT: Final = 4


def text_of(value: object) -> str:
    """Return any object as text. None is empty; an object whose ``__str__`` raises is the name of its class in brackets."""
    if value is None:
        return ""
    try:
        # The plain text of a subclass of str too (an enum, markup): its methods cannot be trusted.
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{type(value).__name__}: its __str__ raises>"


def describe(error: BaseException) -> str:
    """Return class and message of an exception in one short line for a log, with its secrets redacted."""
    return f"{type(error).__name__}: {redact(cut_end(text_of(error), 1_000))[:200]}"


def show(value: object, limit: int = 60) -> str:
    """Return at most ``limit`` characters of a value's repr, with its secrets redacted, for an error or a log.

    Raises what the value's ``__repr__`` raises.
    """
    return redact(cut_end(repr(value), 10 * limit))[:limit]


def clean(text: str) -> str:
    """Replace lone surrogates and NUL, which UTF-8 or Postgres cannot hold, by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def identifier(value: object, limit: int) -> str:
    """Return an id or name of at most ``limit`` bytes. A longer one is cut and ends with a hash of the whole.

    The result is the same in every process, so that the events of one job stay together and two jobs stay apart. An id
    that was cut is not changed when it is cut again.
    """
    text = value if type(value) is str else text_of(value)
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    text = clean(text)
    encoded = text.encode()
    if len(encoded) <= limit:
        return text
    digest = hashlib.blake2b(encoded, digest_size=16).hexdigest()
    return f"{encoded[: limit - 33].decode(errors='ignore')}~{digest}"


def cut_end(text: str, limit: int) -> str:
    """Keep the beginning of a text within ``limit`` bytes. A text that was cut says so at its end."""
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    # A character has at least one byte, so one character more than the limit is enough to look at.
    encoded = clean(text[: limit + 1]).encode()
    return encoded.decode() if len(encoded) <= limit else _cut(encoded, encoded, limit, head_share=1.0)


def cut_middle(text: str, limit: int) -> str:
    """Keep both ends of a text within ``limit`` bytes, most of it the end. A text that was cut says so between them."""
    head, tail = clean(text[: limit + 1]).encode(), clean(text[-limit - 1 :]).encode()
    return head.decode() if len(head) <= limit else _cut(head, tail, limit, head_share=_HEAD_SHARE)


def _cut(head: bytes, tail: bytes, limit: int, *, head_share: float) -> str:
    room = max(0, limit - len(_CUT_MARK.encode()))
    first = int(room * head_share)
    last = room - first
    return (
        head[:first].decode(errors="ignore")
        + _CUT_MARK
        + (tail[-last:].decode(errors="ignore") if last else "")
    )


def small_map(meta: object, redactor: Redactor) -> dict[str, str]:
    """Return a mapping as texts, within the limits of ``meta`` and with its secrets redacted; anything else is empty."""
    if not isinstance(meta, Mapping):
        return {}
    try:
        entries = list(meta.items())[:META_ENTRIES]
    except Exception:
        return {}
    return {
        name: REDACTED
        if redactor.hides(name, value)
        else redacted(text_of(value), META_VALUE_LIMIT, redactor)
        for name, value in ((identifier(key, META_KEY_LIMIT), value) for key, value in entries)
    }


def redacted(text: str, limit: int, redactor: Redactor) -> str:
    """Redact the secrets in a text, and keep its beginning within ``limit`` bytes.

    In this order, because a secret that was cut may not be recognized. The end of a very long text is not looked at.
    """
    return cut_end(redactor.text(cut_end(text, _LOOKED_AT * limit)), limit)
