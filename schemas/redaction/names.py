"""Recognize names of secrets: password, apiKey, X-Amz-Signature, DB_TOKEN; not author, token_count, primary_key.

A name is split into words (camelCase, kebab-case, snake_case, dots) and judged by whole words, because parts of words
mislead: `auth` is in author, `token` in tokenizer, `key` in monkey. Only phrases that always mean a secret (`password`,
`apikey`) are searched for anywhere in the name without its separators.
"""

import re
from collections.abc import Iterable
from enum import IntEnum
from functools import lru_cache
from typing import Final

from schemas.redaction.patterns import lazily


class Secrecy(IntEnum):
    """What a name says about its value."""

    NONE = 0
    LIKELY = 1
    """A secret, unless the value is clearly something else: ``auth=basic``, ``tokens=512``."""
    CERTAIN = 2


NAME_CHARACTERS: Final = 120
"""Only this many characters at the end of a name are examined."""

_WORD: Final = lazily(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+")
_NOT_LETTERS: Final = lazily(r"[\W_]+")

# Found anywhere in a name without its separators.
_PHRASES: Final = (
    *("password", "passwd", "passphrase", "passcode", "kennwort", "motdepasse", "contrasena"),
    *("contraseña", "apikey", "accesskey", "secretkey", "privatekey", "signingkey"),
    *("encryptionkey", "masterkey", "accountkey", "sharedkey", "storagekey", "subscriptionkey"),
    *("licensekey", "sshkey", "hmackey", "authkey", "sessionkey", "credential"),
    *("authorization", "sessionid", "sessid", "connectsid", "stripetoken", "creditcard"),
    *("cardnumber", "mnemonic"),
)
# Found as any word of a name.
_CERTAIN_WORDS: Final = frozenset(
    {"secret", "secrets", "pwd", "jwt", "jwts", "csrf", "xsrf", "otp", "totp", "bearer"}
    | {"passwort", "haslo", "hasło", "senha", "cvv", "cvv2", "cvc", "iban", "ssn"}
    | {"пароль", "пароля", "пароли"}
)
# Found as the last word of a name, or before words that add no meaning.
_LIKELY_WORDS: Final = frozenset(
    {"token", "tokens", "auth", "oauth", "session", "pass", "pw", "sig", "signature"}
    | {"signatures", "cookie", "cookies", "hmac"}
)
_LIKELY_ENDINGS: Final = ("token", "cookie", "pass")
_END_LIKE_PASS: Final = frozenset(
    {"bypass", "compass", "encompass", "surpass", "trespass", "overpass", "underpass"}
)
_CERTAIN_ENDINGS: Final = ("secret", "pwd", "passwd")
_SAY_NOTHING: Final = frozenset(
    {"value", "values", "id", "key", "header", "headers", "data", "string", "str", "text"}
    | {"raw", "plain", "plaintext", "hash", "hashed", "encoded", "encrypted", "b64", "base64"}
    | {"old", "new", "current", "previous", "prev", "next", "prod", "production", "dev", "test"}
    | {"staging", "default", "primary", "secondary", "env", "var", "param", "arg"}
)
# A name that ends with one of these describes a secret but does not contain it: token_type, password_file.
_ABOUT: Final = frozenset(
    {"count", "counts", "type", "types", "length", "len", "size", "limit", "limits", "max"}
    | {"min", "total", "number", "expires", "expire", "expired", "expiry", "expiration", "ttl"}
    | {"age", "lifetime", "timeout", "time", "date", "at", "policy", "policies", "url", "urls"}
    | {"uri", "endpoint", "path", "file", "filename", "dir", "name", "names", "method"}
    | {"methods", "provider", "mode", "status", "state", "enabled", "disabled", "required"}
    | {"valid", "version", "scheme", "issuer", "scope", "scopes", "host", "realm", "domain"}
    | {"region", "hint", "field", "fields", "column", "error", "errors", "failure", "failures"}
    | {"failed", "attempts", "retries", "strength", "rotation", "rotated", "changed", "reset"}
    | {"user", "username", "algorithm", "alg", "format", "encoding", "class", "module"}
    | {"backend", "service", "server", "manager", "store", "handler", "middleware", "level"}
    | {"label", "description", "usage", "used", "rate", "cost", "budget", "index", "check"}
    | {"checks", "found", "missing", "in", "on", "per", "for", "validator", "py", "pyc", "txt"}
    | {"json", "yaml", "yml", "toml", "conf", "cfg", "ini", "pem", "js", "ts", "go", "rb"}
    | {"java", "log", "html", "css", "rs", "sql", "sh", "xml", "csv", "md"}
)
# After one of these, the separate word `key` is the name of a secret: "api key: …".
_BEFORE_KEY: Final = frozenset(
    {"api", "access", "secret", "private", "signing", "encryption", "master", "account"}
    | {"shared", "license", "ssh"}
)
_BEFORE_ID: Final = frozenset({"session"})
_BEFORE_NUMBER: Final = frozenset({"card"})


def words_of(name: str) -> list[str]:
    """Split a name into its words, in lower case."""
    return [word.lower() for word in _WORD.findall(name)]


def joined(name: str) -> str:
    """Return a name in lower case without separators."""
    return _NOT_LETTERS.sub("", name.lower())


def pattern_of(names: Iterable[str]) -> re.Pattern[str] | None:
    """Compile further names of secrets, each to be found anywhere in a `joined` name; None when there are none."""
    found = sorted({joined(name) for name in names} - {""})
    return re.compile("|".join(map(re.escape, found))) if found else None


@lru_cache(maxsize=4096)
def secrecy_of(name: str) -> Secrecy:
    """Judge a name of at most NAME_CHARACTERS."""
    words = words_of(name)
    if not words:
        return Secrecy.NONE
    if name == "sid":  # a session's cookie; account_sid and an IAM policy's Sid are public
        return Secrecy.LIKELY
    whole = joined(name)
    if any(phrase in whole for phrase in _PHRASES):
        return Secrecy.NONE if words[-1] in _ABOUT and not _is_number(whole) else Secrecy.CERTAIN
    if words[-1] in _ABOUT:
        return Secrecy.NONE
    if not _CERTAIN_WORDS.isdisjoint(words) or whole.endswith(_CERTAIN_ENDINGS):
        return Secrecy.CERTAIN
    while len(words) > 1 and (words[-1] in _SAY_NOTHING or words[-1].isdigit()):
        words.pop()
    last = words[-1]
    if last in _LIKELY_WORDS or (last.endswith(_LIKELY_ENDINGS) and last not in _END_LIKE_PASS):
        return Secrecy.LIKELY
    return Secrecy.NONE


def is_directory(name: str, value: str) -> bool:
    """Return whether a value is a shell's working directory: ``PWD=/home/bob``. In connection strings it is a password."""
    return name in ("PWD", "OLDPWD") and value.startswith(("/", "~"))


def is_secret_phrase(before: str, name: str) -> bool:
    """Return whether two separate words together are a secret's name: ``api key``, ``card number``."""
    before, name = before.lower(), name.lower()
    return (
        (name in ("key", "keys") and before in _BEFORE_KEY)
        or (name == "id" and before in _BEFORE_ID)
        or (name == "number" and before in _BEFORE_NUMBER)
    )


def _is_number(whole: str) -> bool:
    return whole.endswith("cardnumber")
