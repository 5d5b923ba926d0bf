"""Making any text fit for an event: whole UTF-8, no NUL, within a limit in bytes. Pure; nothing here raises.

The limits are those of the contract where it has one (ids and names), else the SDK's own.
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
# Of a stack trace that is too long, the outermost part keeps this share; the innermost part says more.
_HEAD_SHARE: Final = 0.25
# So many times the limit is looked at for secrets, because a text with secrets redacted may be shorter.
_LOOKED_AT: Final = 4


def text_of(value: object) -> str:
    """Give any object as text: None is empty, an object whose ``__str__`` raises is its class's name in brackets."""
    if value is None:
        return ""
    try:
        # The plain str of a subclass too (an enum of str, a markup string): its methods are not to be trusted.
        return str.__str__(value) if isinstance(value, str) else str(value)
    except Exception:
        return f"<{type(value).__name__}: its __str__ raises>"


def describe(error: BaseException) -> str:
    """Give class and message of an exception in one short line for a log, secrets redacted, whatever its methods do."""
    return f"{type(error).__name__}: {redact(cut_end(text_of(error), 1_000))[:200]}"


def show(value: object, limit: int = 60) -> str:
    """Give the repr of a value for an error or a log: secrets redacted, at most ``limit`` characters of it.

    Raises whatever the value's ``__repr__`` raises.
    """
    return redact(cut_end(repr(value), 10 * limit))[:limit]


def clean(text: str) -> str:
    """Replace what neither UTF-8 nor Postgres can hold (lone surrogates, NUL) by U+FFFD."""
    if "\0" in text:
        text = text.replace("\0", _REPLACEMENT)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text


def identifier(value: object, limit: int) -> str:
    """Give an id or name of at most ``limit`` bytes. One that is longer is cut and ends with a hash of the whole.

    The same in, the same out, in any process: two events of one job stay together, two different jobs stay apart.
    What it gives it leaves as it is when given it again.
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
    """Keep the beginning of a text within ``limit`` bytes; a text that was cut says so at its end."""
    if len(text) <= limit and text.isascii() and "\0" not in text:
        return text
    # As many characters as the limit has bytes, and one more, are at least as many bytes: no need to look further.
    encoded = clean(text[: limit + 1]).encode()
    return encoded.decode() if len(encoded) <= limit else _cut(encoded, encoded, limit, head_share=1.0)


def cut_middle(text: str, limit: int) -> str:
    """Keep both ends of a text within ``limit`` bytes, the end most; a text that was cut says so between them."""
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
    """Give a mapping as text to text, within the limits of ``meta``, secrets redacted; what is no mapping is empty."""
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

    In this order: a secret that is cut is no longer known as one. Of a very long text the end is not looked at.
    """
    return cut_end(redactor.text(cut_end(text, _LOOKED_AT * limit)), limit)
