"""Redact a text by all the rules. A text without a secret takes about a microsecond."""

import re
from collections.abc import Callable, Iterable
from typing import Final

from schemas.redaction.commands import may_hold_command, secrets_by_place
from schemas.redaction.names import (
    NAME_CHARACTERS,
    Secrecy,
    is_directory,
    joined,
    pattern_of,
    secrecy_of,
    words_of,
)
from schemas.redaction.pairs import PARTS_OF_NAMES, Span, is_plural, secrets_beside_names
from schemas.redaction.patterns import lazily
from schemas.redaction.tokens import may_hold_token, secrets_by_looks
from schemas.redaction.urls import secrets_in_urls
from schemas.redaction.values import REDACTED, is_harmless

# What a terminal does not show: sequences that colour text, control characters, and those of Unicode without a width.
_INVISIBLE: Final = lazily(
    "\x1b\\[[0-?]{0,30}[ -/]{0,5}[@-~]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u200b-\u200f\u2060-\u2064\ufeff]"
)
_SPACES: Final = lazily("[\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_LINE_OF_CODE: Final = lazily(r"^ *File \"[^\"\n]{1,500}\", line \d+.*\n(?P<code> .*)$", re.MULTILINE)


class Redactor:
    """The rules of redaction, with further names of secrets. Keeps nothing of the texts."""

    def __init__(self, names: Iterable[str] = (), hide: Callable[[str], str] | None = None) -> None:
        """Take further ``names``, found anywhere in a name in any spelling, and a function that replaces a secret."""
        names = tuple(names)
        self._further = pattern_of(names)
        self._parts = PARTS_OF_NAMES + tuple(words[0] for name in names if (words := words_of(name)))
        self._hide = hide or _redacted

    def text(self, text: str) -> str:
        """Redact the secrets in a text. Redacting it again changes nothing.

        Colours and invisible characters do not hide a secret: if there is one, they are lost with it.
        """
        redacted = self._text(text) if self._may_hold_secret(text) else text
        if self._hide is not _redacted:
            return redacted  # such as one that keeps the length of bytes
        plain = _plain(redacted)
        if plain == redacted or not self._may_hold_secret(plain):
            return redacted
        redacted_plain = self._text(plain)
        return redacted if redacted_plain == plain else redacted_plain

    def trace(self, text: str) -> str:
        """Redact the secrets in a stack trace as Python prints it, its lines of code as ``code`` does."""
        parts: list[str] = []
        done = 0
        for found in _LINE_OF_CODE.finditer(text):
            parts += [self.text(text[done : found.start("code")]), self.code(found["code"])]
            done = found.end("code")
        return "".join([*parts, self.text(text[done:])])

    def code(self, line: str) -> str:
        """Redact the secrets in a line of code: those in its literals. Names and calls stay."""
        if not self._may_hold_secret(line):
            return line
        if "//" in line:
            line = self._hidden(line, secrets_in_urls(line))
        lower = _lower(line)
        parts = [part for part in self._parts if part in lower]
        beside = secrets_beside_names(line, lower, parts, self.secrecy)
        beside = [(start, end) for start, end in beside if _is_literal(line, start)]
        return self._hidden(line, secrets_by_looks(line, lower) + beside)

    def secrecy(self, name: str) -> Secrecy:
        """Judge the name of a value."""
        name = name[-NAME_CHARACTERS:]
        if self._further is not None and self._further.search(joined(name)):
            return Secrecy.CERTAIN
        return secrecy_of(name)

    def hides(self, name: str, value: object) -> bool:
        """Return whether a value is a secret by its name. None, truth values and empty values are not."""
        secrecy = self.secrecy(name)
        if not secrecy or value is None or isinstance(value, bool):
            return False
        if isinstance(value, str | int | float):
            said = str(value)
            return not is_harmless(said, secrecy, plural=is_plural(name)) and not is_directory(name, said)
        return True

    def hide(self, secret: str) -> str:
        """Return what replaces a secret."""
        return self._hide(secret)

    def _may_hold_secret(self, text: str) -> bool:
        if any(map(text.lower().__contains__, self._parts)) or may_hold_token(text) or may_hold_command(text):
            return True
        return "//" in text and ("..." in text or "…" in text)

    def _text(self, text: str) -> str:
        if "//" in text or "/\\/" in text:
            text = self._hidden(text, secrets_in_urls(text))
        lower = _lower(text)
        spans = secrets_by_looks(text, lower) + secrets_by_place(text, lower, self.secrecy)
        parts = [part for part in self._parts if part in lower]
        if parts:
            spans += secrets_beside_names(text, lower, parts, self.secrecy)
        return self._hidden(text, spans)

    def _hidden(self, text: str, spans: list[Span]) -> str:
        if not spans:
            return text
        parts: list[str] = []
        done = 0
        start, end = -1, -1
        for first, last in [*sorted(spans), (len(text) + 1, len(text) + 1)]:
            if first <= end:
                end = max(end, last)
                continue
            if end > start:
                parts += [text[done:start], self._hide(text[start:end])]
                done = end
            start, end = first, last
        return "".join([*parts, text[done:]])


def _plain(text: str) -> str:
    """Return the text without colours and invisible characters, with blanks for all spaces; itself if it has none."""
    if text.isascii() and text.isprintable():
        return text
    return _INVISIBLE.sub("", _SPACES.sub(" ", text))


def _lower(text: str) -> str:
    """Return the text in lower case, each character in its place: the lower-case form of some letters is longer."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(small if len(small := character.lower()) == 1 else character for character in text)


def _is_literal(line: str, at: int) -> bool:
    """Return whether a number begins there, or a text has begun but not ended."""
    return line[at].isdigit() or any(line.count(quote, 0, at) % 2 for quote in "\"'")


def _redacted(_secret: str) -> str:
    return REDACTED


_default: Final = Redactor()
redact: Final = _default.text
"""Redact the secrets in a text by the rules alone."""
