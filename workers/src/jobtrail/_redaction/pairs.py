# Written by `make contract` from schemas/redaction/pairs.py; do not edit. `make check` fails when it differs.
"""Finds secrets beside their names in any text: query strings, connection strings, JSON, reprs, headers, options.

    password=S   "apiKey": "S"   ('Authorization', 'Bearer S')   X-Api-Key: S   Pwd={S};   <secret>S</secret>

Only words that contain a part of a secret's name are examined, each once, so that the time is linear in the text's
length. `names` recognizes the names of secrets, and `values` what stands beside them without being a secret.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from jobtrail._redaction.extents import (
    ANNOTATION,
    BARE,
    BARE_AFTER_COLON,
    COOKIES,
    IN_BRACES,
    IN_ELEMENT,
    IN_ENCODED_QUERY,
    IN_QUERY,
    NUMBERS,
    PHRASE,
    Value,
    bare,
    called,
    container,
    credentials,
    quoted,
)
from jobtrail._redaction.names import NAME_CHARACTERS, Secrecy, is_directory, is_secret_phrase, words_of
from jobtrail._redaction.patterns import lazily
from jobtrail._redaction.values import TYPES, is_harmless, is_masked, is_sentence, looks_random

Judge = Callable[[str], Secrecy]
Span = tuple[int, int]

PARTS_OF_NAMES: Final = (
    *("pass", "pw", "secret", "token", "key", "auth", "cred", "cookie", "sess", "sid", "jwt"),
    *("sig", "srf", "cvv", "cvc", "iban", "ssn", "otp", "card", "code=", "bearer", "kennwort"),
    *("haslo", "hasło", "senha", "contrase", "парол", "mnemonic", "hmac"),
)
"""Every secret's name that `names` knows contains one of these, in lower case."""

# A name, the quote or bracket that closes it, and the sign between it and its value.
_NAME: Final = lazily(
    r"(?P<name>[\w.$-]++)"
    r"(?P<close>(?:\\{0,8}[\"'`])?[\])]{0,2})[ \t]{0,8}"
    r"(?P<sign>=>|->|:=|={1,3}|:(?!//)|%3[dD]|,|>)(?P<blank>[ \t]{0,8})"
)
_WORD: Final = lazily(r"[\w.$-]++")
_WORD_BEFORE: Final = lazily(r"([A-Za-z]{2,14})[ ]$")
_PARSER_BEFORE: Final = lazily(
    r"(?:unexpected|illegal|unrecognized|expected|invalid|unknown|bad|next|current|reserved)[ ]$",
    re.IGNORECASE,
)
_ELEMENT_BEFORE: Final = lazily(r"<(?:[\w.-]{1,30}:)?$")
_LIST_BEFORE: Final = lazily(
    r"(?P<outer>[\[(,][ \t\n]{0,8})?(?P<own>[\[(])[ \t]{0,4}[bBrRuU]{0,2}\\{0,8}[\"'`]$"
)
# {"name": "password", "value": "S"}, <add key="password" value="S"/>
_NAMING_BEFORE: Final = lazily(
    r"(?:name|key|header)\\{0,8}[\"']?[ \t]{0,4}[:=][ \t]{0,4}\\{0,8}[\"']$", re.IGNORECASE
)
_VALUE_BEHIND: Final = lazily(
    r"\\{0,8}[\"'][,; \t\n]{0,40}\\{0,8}[\"']?value\\{0,8}[\"']?[ \t]{0,4}[:=][ \t]{0,4}", re.IGNORECASE
)
_SECOND_WORD: Final = lazily(r"[ ](?=(?:number|id|key)\b)", re.IGNORECASE)
# After these and a colon only what looks random is a secret. Sentences are full of "auth: failed" and "pass: compile".
_SAID_OF_MUCH: Final = frozenset({"pass", "auth", "oauth", "session", "sid", "pw"})
_KEYS_OF_QUERIES: Final = frozenset({"key", "code"})
_KEY_CHARACTERS: Final = 200
_LEAST_OF_KEY: Final = 12
_DIGIT: Final = lazily(r"\d")
_SEVERAL: Final = ("tokens", "cookies", "signatures")
_SECOND_WORDS: Final = frozenset({"key", "keys", "id", "number"}) | _KEYS_OF_QUERIES


def secrets_beside_names(text: str, lower: str, parts: Sequence[str], secrecy_of: Judge) -> list[Span]:
    """Return the values beside the names of secrets.

    ``lower`` is the text in lower case, character by character. Only names that contain one of ``parts`` are examined.
    """
    spans: list[Span] = []
    done = 0
    for place in sorted(_places(lower, parts)):
        if place < done:
            continue
        start = _start_of_word(text, place, done)
        found = _NAME.match(text, start)
        if found is None:
            done, value = _without_sign(text, start, secrecy_of)
        else:
            value = _value_of(text, found, secrecy_of)
            done = found.end()
        if value is not None:
            if value.end > value.start:
                spans.append((value.start, value.end))
            done = max(done, value.next)
    return spans


def _places(lower: str, parts: Sequence[str]) -> Iterator[int]:
    for part in parts:
        at = lower.find(part)
        while at >= 0:
            yield at
            at = lower.find(part, at + len(part))


def _start_of_word(text: str, at: int, least: int) -> int:
    least = max(least, at - NAME_CHARACTERS)
    while at > least and (text[at - 1].isalnum() or text[at - 1] in "_.$-"):
        at -= 1
    return at


def _without_sign(text: str, start: int, secrecy_of: Judge) -> tuple[int, Value | None]:
    """Return where a name without a sign after it ends, and the value that belongs to it nevertheless."""
    word = _WORD.match(text, start)
    end = word.end() if word else start + 1
    second = _SECOND_WORD.match(text, end)
    found = _NAME.match(text, second.end()) if second else None
    if found is not None:  # card number: …
        return found.end(), _value_of(text, found, secrecy_of)
    behind = _VALUE_BEHIND.match(text, end)
    if behind is None or not _NAMING_BEFORE.search(text[max(0, start - 40) : start]):
        return end, None
    return behind.end(), _named_value(text, behind, text[start:end], secrecy_of)


def _named_value(text: str, behind: re.Match[str], name: str, secrecy_of: Judge) -> Value | None:
    secrecy = secrecy_of(name[-NAME_CHARACTERS:])
    if not secrecy:
        return None
    value = quoted(text, behind.end()) or bare(text, behind.end(), BARE)
    return None if is_harmless(text[value.start : value.end], secrecy) else value


def value_at(text: str, at: int, secrecy: Secrecy) -> Span | None:
    """Return a value that is separate from its name, like the value of an option; None if it is not a secret."""
    value = quoted(text, at)
    if value is not None:
        said = text[value.start : value.end]
        return None if is_harmless(said, secrecy) else (value.start, value.end)
    value = bare(text, at, BARE)
    said = text[value.start : value.end]
    return None if not said or is_harmless(said, secrecy) or is_sentence(said) else (value.start, value.end)


def _value_of(text: str, found: re.Match[str], secrecy_of: Judge) -> Value | None:
    """Return the value of one name; None if it has no secret."""
    name, sign, at = found["name"], found["sign"], found.end()
    if not secrecy_of(name[-NAME_CHARACTERS:]) and name.lower() not in _SECOND_WORDS:
        return None
    before = text[max(0, found.start() - 150) : found.start()]
    if sign == ">":
        if not _ELEMENT_BEFORE.search(before):
            return None
        secrecy = _secrecy(found, before, secrecy_of)
        element = IN_ELEMENT.match(text, at) if secrecy else None
        return (
            None if element is None else _unless_harmless(text, Value(at, element.end(), at), found, secrecy)
        )
    if sign == "," and _NAMING_BEFORE.search(before):
        behind = _VALUE_BEHIND.match(text, found.end("name"))
        return _named_value(text, behind, name, secrecy_of) if behind else None
    if sign == "," and not (found["close"] and (name.startswith("--") or _LIST_BEFORE.search(before))):
        return None
    in_query = before[-1:] in ("?", "&", "#") or before.endswith(("&amp;", "%3F", "%26")) or sign[0] == "%"
    secrecy = _secrecy(found, before, secrecy_of)
    if not secrecy:
        return _key_of_query(text, found) if in_query else None
    value = quoted(text, at)
    if sign == ",":
        if value is None or not _is_pair(text, value, found, before):
            return None
        return _unless_harmless(text, value, found, secrecy)
    if value is not None:
        return _unless_harmless(text, value, found, secrecy)
    value = _in_brackets(text, at, found, secrecy)
    if value is not None:
        return value
    value = None if in_query else called(text, at)
    if value is not None:
        return value
    return _unquoted(text, at, found, before, secrecy, in_query=in_query)


def _secrecy(found: re.Match[str], before: str, secrecy_of: Judge) -> Secrecy:
    name = found["name"]
    secrecy = secrecy_of(name[-NAME_CHARACTERS:])
    if secrecy:
        return secrecy
    word = name.lower()
    if word in ("key", "keys", "id", "number"):
        other = _WORD_BEFORE.search(before)
        return Secrecy.CERTAIN if other and is_secret_phrase(other[1], word) else Secrecy.NONE
    return Secrecy.NONE


def _unless_harmless(text: str, value: Value, found: re.Match[str], secrecy: Secrecy) -> Value:
    said = text[value.start : value.end]
    if is_harmless(said, secrecy, plural=is_plural(found["name"])) or (len(said) <= 40 and is_sentence(said)):
        return Value(value.end, value.end, value.next)
    return value


def is_plural(name: str) -> bool:
    """Return whether a name is a plural, so that a number is a count: ``max_tokens``."""
    return name.lower().endswith(_SEVERAL)


def _is_pair(text: str, value: Value, found: re.Match[str], before: str) -> bool:
    """Return whether a name and a quoted text after a comma are a header: a tuple, or a list inside other brackets."""
    if found["name"].startswith("--"):
        return True
    around = _LIST_BEFORE.search(before)
    assert around is not None
    closed = text[value.next : value.next + 4].lstrip()[:1]
    return closed == (")" if around["own"] == "(" else "]") and (
        around["own"] == "(" or around["outer"] is not None
    )


def _in_brackets(text: str, at: int, found: re.Match[str], secrecy: Secrecy) -> Value | None:
    """Return the content of a list, tuple or mapping, or of ODBC's braces; None without any."""
    if text[at : at + 1] not in ("[", "(", "{") or is_masked(
        text[at : at + 80].split(" ", 1)[0].rstrip(".,;")
    ):
        return None
    braces = IN_BRACES.match(text, at) if found["sign"] == "=" else None
    if braces:
        value = Value(at + 1, braces.end() - 1, braces.end())
    else:
        value = container(text, at)
    inner = text[value.start : value.end]
    if secrecy is Secrecy.LIKELY and len(inner) < 200 and NUMBERS.fullmatch(inner):
        return Value(value.end, value.end, value.next)
    return _unless_harmless(text, value, found, secrecy)


def _unquoted(
    text: str, at: int, found: re.Match[str], before: str, secrecy: Secrecy, *, in_query: bool
) -> Value | None:
    sign, name = found["sign"], found["name"].lower()
    if in_query:
        value = bare(text, at, IN_ENCODED_QUERY if sign[0] == "%" else IN_QUERY)
    elif name.endswith(("authorization", "signature")):
        value = credentials(text, at)
    elif "passphrase" in name and sign == ":":
        value = bare(text, at, PHRASE)
    elif name.endswith("cookie") and sign == ":" and (cookies := COOKIES.match(text, at)):
        value = Value(at, cookies.end(), cookies.end())
    else:
        value = bare(text, at, BARE_AFTER_COLON if sign == ":" else BARE)
    said = text[value.start : value.end]
    if not said or is_harmless(said, secrecy, plural=is_plural(name)) or is_directory(found["name"], said):
        return None
    if sign not in (":", "->") or in_query:
        return value
    if said.lower() in TYPES or is_sentence(said):
        # def log_in(password: str = "S")
        annotated = ANNOTATION.match(text, at)
        if annotated is None:
            return None
        value = quoted(text, annotated.end()) or bare(text, annotated.end(), BARE)
        return None if is_harmless(text[value.start : value.end], secrecy) else value
    if secrecy is Secrecy.LIKELY and not looks_random(said):
        last = words_of(name[-NAME_CHARACTERS:])[-1:]
        if not found["blank"] or not _SAID_OF_MUCH.isdisjoint(last) or _PARSER_BEFORE.search(before):
            return None
    return value


def _key_of_query(text: str, found: re.Match[str]) -> Value | None:
    """Return the value of ``?key=S`` or ``?code=S``, whose names are too common to mean a secret elsewhere."""
    if found["name"].lower() not in _KEYS_OF_QUERIES:
        return None
    within = IN_QUERY.match(text, found.end(), found.end() + _KEY_CHARACTERS)
    if within is None or len(within[0]) < _LEAST_OF_KEY or not _DIGIT.search(within[0]):
        return None
    return Value(within.start(), within.end(), within.end()) if looks_random(within[0]) else None
