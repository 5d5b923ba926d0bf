"""A job's arguments as JSON: secrets redacted at any depth, within limits of depth, breadth and bytes. Never raises."""

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from json.encoder import encode_basestring
from typing import Any, Final

from jobtrail._text import ARGS_LIMIT, clean, cut_end, text_of

REDACTED: Final = "[redacted]"

# A key is secret when one of these is part of it, in any case and spelling: apiKey, API-KEY, db_password.
DEFAULT_SECRET_KEYS: Final[tuple[str, ...]] = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "authorization",
    "api_key",
    "access_key",
    "private_key",
    "credential",
    "cookie",
    "session_id",
    "credit_card",
    "card_number",
    "cvv",
    "iban",
)

_REDACTED_JSON: Final = json.dumps(REDACTED)
_DEPTH_LIMIT: Final = 8
_ITEMS_LIMIT: Final = 200
_NODES_LIMIT: Final = 2_000
_CONSTANTS: Final = {None: "null", True: "true", False: "false"}
_NOT_LETTERS: Final = re.compile(r"[^a-z0-9]+")
# user:password@ in a URL, wherever it stands in a text.
_URL_PASSWORD: Final = re.compile(r"(?<=://)([^/\s:@]{0,200}):[^/\s@]{1,500}@")


def secret_keys(names: Iterable[str]) -> re.Pattern[str]:
    """Compile names of secret keys to the pattern that ``args_json`` takes. Names are compared without separators."""
    words = sorted({_NOT_LETTERS.sub("", name.lower()) for name in names} - {""})
    return re.compile("|".join(map(re.escape, words)) or r"(?!)")


def args_json(value: object, secret: re.Pattern[str], limit: int = ARGS_LIMIT) -> str:
    """Give ``value`` as JSON of at most ``limit`` bytes of UTF-8, keys that match ``secret`` redacted at any depth.

    What JSON does not know is given as text; what is too deep, too broad or too long says so. JSON that was cut is no
    longer JSON: its end says how many bytes went.
    """
    try:
        return cut_end(_Writer(secret).json(value, 0), limit)
    except Exception as error:
        return json.dumps(f"[args could not be recorded: {type(error).__name__}]")[:limit]


def without_url_passwords(text: str) -> str:
    """Redact ``user:password@`` in the URLs of a text (messages of failed connections are full of them)."""
    return _URL_PASSWORD.sub(rf"\1:{REDACTED}@", text) if "@" in text and "://" in text else text


class _Writer:
    """Writes any object as JSON; counts what it has seen, so that no argument costs the job much.

    By hand and in one go: for so little, the json module spends most of its time on making itself ready.
    """

    def __init__(self, secret: re.Pattern[str]) -> None:
        self._secret = secret
        self._nodes = 0

    def json(self, value: object, depth: int) -> str:
        self._nodes += 1
        if self._nodes > _NODES_LIMIT:
            return '"[too many]"'
        if value is None or value is True or value is False:
            return _CONSTANTS[value]
        # The exact types first: they are nearly all there is, and asking for an abstract one is slow.
        kind = type(value)
        if kind is str or isinstance(value, str):
            return _text(value)
        if kind is dict and depth < _DEPTH_LIMIT:
            return self._mapping(value, depth)  # type: ignore[arg-type]  # is a dict
        if isinstance(value, int):
            # Beyond 64 bits only as text: Python refuses to print very long integers.
            return int.__repr__(value) if -(2**63) <= value < 2**63 else '"[integer beyond 64 bits]"'
        if isinstance(value, float):
            return float.__repr__(value) if math.isfinite(value) else encode_basestring(text_of(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return f'"[{len(value)} bytes]"'
        if depth >= _DEPTH_LIMIT:
            return '"[too deep]"'
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if isinstance(value, list | tuple | set | frozenset):
            return self._items(value, depth)
        return _text(value)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> str:
        written: dict[str, str] = {}
        for key, item in value.items():
            if len(written) >= _ITEMS_LIMIT:
                written["…"] = f'"[{len(value) - _ITEMS_LIMIT} more]"'
                break
            name = clean(text_of(key)[:500])
            secret = _is_secret(name, self._secret)
            written[name] = _REDACTED_JSON if secret else self.json(item, depth + 1)
        return f"{{{', '.join([f'{encode_basestring(name)}: {text}' for name, text in written.items()])}}}"

    def _items(self, value: Iterable[Any], depth: int) -> str:
        written: list[str] = []
        for item in value:
            if len(written) >= _ITEMS_LIMIT:
                written.append('"[more]"')
                break
            written.append(self.json(item, depth + 1))
        return f"[{', '.join(written)}]"


def _text(value: object) -> str:
    return encode_basestring(without_url_passwords(clean(text_of(value)[: 2 * ARGS_LIMIT])))


@lru_cache(maxsize=2048)
def _is_secret(name: str, secret: re.Pattern[str]) -> bool:
    return secret.search(_NOT_LETTERS.sub("", name.lower())) is not None
