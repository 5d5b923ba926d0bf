"""Finds where the value beside a name ends: at a quote, a bracket, the end of a header, or a blank.

When in doubt, it takes more rather than less.
"""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from schemas.redaction.patterns import lazily
from schemas.redaction.values import is_masked

_QUOTE: Final = lazily(r"[bBrRuUfF]{0,2}(\\{0,8}(?:\"\"\"|'''|[\"'`]))")
_WITHIN: Final = {
    '"': lazily(r'(?:[^"\\\n]|\\[^\n])*+'),
    "'": lazily(r"(?:[^'\\\n]|\\[^\n])*+"),
    "`": lazily(r"[^`\n]*+"),
}
# A value in braces, as ODBC has it: Pwd={a;b}.
IN_BRACES: Final = lazily(r"\{(?![\s\"'}])((?:[^}\n]|\}\})*+)\}")
_BRACKETS: Final = lazily(r"\"(?:[^\"\\\n]|\\.)*+\"|'(?:[^'\\\n]|\\.)*+'|[\[({\])}]")
_CONTAINER_CHARACTERS: Final = 4_000
NUMBERS: Final = lazily(r"[\d\s,.+-]*")
ANNOTATION: Final = lazily(r"[A-Za-z][\w.]*(?:\[[\w., |]*\])?(?:[ ]?\|[ ]?\w+){0,3}[ ]?=[ ]?")


def _bare_until(signs: str) -> re.Pattern[str]:
    """Return the pattern of a value without quotes: up to a blank, or to a separator before the next name and sign."""
    following = rf"[ \t]?[\w.%\[\]-]{{1,60}}+(?:[ ][\w.%-]{{1,30}}+){{0,3}}[ ]?[{signs}]"
    return lazily(
        r"(?:[^\s\x00-\x1f\"'`,;&|\\\])}…]"
        r"|…(?!\[cut\])"
        r"|\\(?![\"']|[nrt](?:[\w-]{1,60}+[=:]|\\|$|[\"']))[^\n]"
        r"|[\"'`](?=\w)"
        rf"|[,;|](?!\s|$|{following})"
        rf"|&(?!(?:amp;)?{following})"
        r"|[\])}](?![\s,;.:)\]}\"'`]|$))++"
    )


_IN_PLACE: Final = lazily(
    r"[\[<(](?:redacted|filtered|masked|hidden|removed|scrubbed|sensitive|omitted)[\])>]", re.IGNORECASE
)
BARE: Final = _bare_until("=")
BARE_AFTER_COLON: Final = _bare_until("=:")
IN_QUERY: Final = lazily(r"(?:[^\s\x00-\x1f\"'`<>&#\\]|\\(?![\"'nrt]|u0026))++")
IN_ENCODED_QUERY: Final = lazily(r"(?:[^\s\"'`<>&#%\\]|%(?!26|23))++")
IN_ELEMENT: Final = lazily(r"[^<]*+(?=<)")
PHRASE: Final = lazily(r"[^\n,;\"']*+")
_CALL: Final = lazily(r"[A-Za-z_][\w.]*\(")
_TRAILING: Final = ".,:;!?"
_SCHEMES: Final = (
    r"(?i:bearer|basic|digest|negotiate|ntlm|token|apikey|api-key|key|hawk|oauth|sharedkey(?:lite)?|mac|dpop|signature"
    r"|aws4-hmac-sha256|aws|jwt|vapid|hoba|private-token)"
)
_CREDENTIALS: Final = lazily(
    rf"(?:{_SCHEMES}[ \t]{{1,4}})?"
    r"(?P<said>[\w-]{1,40}=(?:\"[^\"\n]*+\"|[^\s,\"]++)(?:[ \t]{0,4},[ \t]{0,4}[\w-]{1,40}=(?:\"[^\"\n]*+\"|[^\s,\"]++))*+)?"
)
COOKIES: Final = lazily(r"[^\s=;,\"']++=[^\s;,\"']*+(?:;[ \t]{0,2}[^\s=;,\"']++(?:=[^\s;,\"']*+)?)*+")


class Value(NamedTuple):
    """The place of a value, and where to search for the next name. An empty value is not a secret."""

    start: int
    end: int
    next: int


def quoted(text: str, at: int) -> Value | None:
    """Return a text in quotes, escaped or not. One that was cut off extends to the end of the line. None without quotes."""
    found = _QUOTE.match(text, at)
    if found is None:
        return None
    quote, start = found[1], found.end()
    if len(quote) == 1:
        within = _WITHIN[quote]
        end = _end_of(within, text, start)
        while text.startswith(quote * 2, end) and end > start:  # '' is ' in SQL
            end = _end_of(within, text, end + 2)
        return Value(start, end, end + 1)
    if len(quote) == 3 and quote[0] == quote[1]:
        end = text.find(quote, start)
    else:
        closed = _closing(quote).search(text, start, _end_of_line(text, start))
        end = closed.start() if closed else -1
    if end < 0:
        end = _end_of_line(text, start)
    return Value(start, end, end + len(quote))


@lru_cache(maxsize=64)
def _closing(quote: str) -> re.Pattern[str]:
    return re.compile(r"(?<!\\)" + re.escape(quote))


def _end_of(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _end_of_line(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def called(text: str, at: int) -> Value | None:
    """Return the argument of a call such as ``SecretStr('S')``; None without a whole call."""
    found = _CALL.match(text, at)
    if found is None:
        return None
    inner = container(text, found.end() - 1)
    if inner.next == inner.end:
        return None
    said = text[inner.start : inner.end]
    if is_masked(said.strip("'\"b")):
        return Value(inner.end, inner.end, inner.next)
    return inner if said[:1] in ("'", '"', "b") else Value(at, inner.next, inner.next)


def container(text: str, at: int) -> Value:
    """Return the content between brackets. One that was cut off extends to the end of the line or the text."""
    depth = 0
    for bracket in _BRACKETS.finditer(text, at, at + _CONTAINER_CHARACTERS):
        if bracket[0] in "[({":
            depth += 1
        elif bracket[0] in "])}":
            depth -= 1
            if depth == 0:
                return Value(at + 1, bracket.start(), bracket.end())
    # The text was cut off within it, or the bracket means something else.
    begins = text[at + 1 : at + 2] in ("\n", '"', "'", "{", "[", "\\")
    end = len(text) if begins else _end_of_line(text, at)
    return Value(at + 1, end, end)


def bare(text: str, at: int, pattern: re.Pattern[str]) -> Value:
    """Return a text without quotes that matches a pattern, without punctuation at its end. It may be empty."""
    masked = _IN_PLACE.match(text, at)
    if masked:
        return Value(at, masked.end(), masked.end())
    end = _end_of(pattern, text, at)
    kept = len(text[at:end].rstrip(_TRAILING if pattern in (BARE, BARE_AFTER_COLON) else _TRAILING + ")]}'"))
    return Value(at, at + kept, at + kept)


def credentials(text: str, at: int) -> Value:
    """Return the credentials in an Authorization header, after the name of the scheme."""
    found = _CREDENTIALS.match(text, at)
    assert found is not None
    if found["said"]:
        return Value(found.start("said"), found.end("said"), found.end("said"))
    return bare(text, found.end(), BARE)
