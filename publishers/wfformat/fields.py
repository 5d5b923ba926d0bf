"""Read single fields of a file: their type, stand-ins for "not known", and errors that name the place."""

import string
from collections.abc import Mapping
from typing import Any

from schemas.errors import InputError

# What programs write where they do not know a value. It may be in any case, and within brackets or quotes.
_STAND_INS = frozenset(
    {
        *("n/a", "na", "n.a.", "n.a", "none", "null", "nil", "nan", "unknown", "undefined", "unspecified"),
        *("not available", "not applicable", "not known", "not set", "unset", "tbd", "placeholder"),
    }
)
_SHOWN_CHARACTERS = 80
_BRACKETS = "<>()[]{}\"'` \t\r\n"
_PUNCTUATION = frozenset(string.punctuation + string.whitespace + "–—…·")


def known(text: str) -> str:
    """Return a text without blanks around it, or '' if it only means "not known" (``n/a``, ``-``)."""
    if text.strip(_BRACKETS).casefold() in _STAND_INS or _PUNCTUATION.issuperset(text):
        return ""
    return text.strip()


def text_of(entry: Mapping[str, Any], key: str, where: str) -> str:
    """Return a text unchanged, a whole number as text, or '' when the field is missing or null.

    Raises InputError for any other type, and for characters that no table can store.
    """
    value = entry.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{where}: expected {key!r} to be a text, got {type(value).__name__}.")
        value = str(value)
    check_characters(value, f"{where}: {key!r}")
    return value


def known_text(entry: Mapping[str, Any], key: str, where: str) -> str:
    """Return a text without blanks around it, or '' if it only means "not known". Raises the same as ``text_of``."""
    return known(text_of(entry, key, where))


def names_of(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    """Return the names in a list, without repetitions and empty ones; None when the file has no such list.

    Raises InputError when the field is not a list, or when the list holds anything but texts and whole numbers.
    """
    value = entry.get(key)
    if value is None or (isinstance(value, str) and not known(value)):
        return None
    if not isinstance(value, list):
        raise InputError(f"{where}: expected {key!r} to be a list, got {type(value).__name__}.")
    found: dict[str, None] = {}
    for item in value:
        if item is None or item == "":
            continue
        if isinstance(item, bool) or not isinstance(item, str | int):
            raise InputError(f"{where}: expected {key!r} to hold names, got {item!r:.80}.")
        check_characters(str(item), f"{where}: {key!r}")
        found[str(item)] = None
    return tuple(found)


def section(entry: Mapping[str, Any], key: str, where: str) -> dict[str, Any]:
    """Return the object in a field, or an empty one when it is missing or null. Raises InputError for other types."""
    value = entry.get(key)
    if value is None or (isinstance(value, str) and not known(value)):
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected {key!r} to be an object, got {type(value).__name__}.")
    return value


def objects(entry: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Return the objects in a list; none when it is missing or null. Raises InputError for any other type."""
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{where}: expected {key!r} to be a list, got {type(value).__name__}.")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise InputError(f"{where}.{key}[{number}]: expected an object, got {type(item).__name__}.")
    return value


def quoted(text: str) -> str:
    """Return a name for messages: quoted, escaped, and cut if it is long."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}…"


def check_characters(text: str, where: str) -> None:
    """Raise InputError when a text has a NUL or half a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"{where}: {quoted(text)} has a NUL or half a surrogate pair, which no table can store."
        )
