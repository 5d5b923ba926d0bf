"""Reading single fields: what is there, what only stands for "not known", and errors that name the place."""

import string
from collections.abc import Mapping
from typing import Any

from schemas.errors import InputError

# What programs that write WfFormat put where they know nothing, in any case and within any brackets or quotes.
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
    """Return the text without blanks around it; '' when it is empty or only stands for "not known" (``n/a``, ``-``)."""
    if text.strip(_BRACKETS).casefold() in _STAND_INS or _PUNCTUATION.issuperset(text):
        return ""
    return text.strip()


def text_of(entry: Mapping[str, Any], key: str, where: str) -> str:
    """Return a text as it stands; a whole number as text; '' when missing or null.

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
    """Return ``text_of`` without blanks around it, or '' when it only stands for "not known"."""
    return known(text_of(entry, key, where))


def names_of(entry: Mapping[str, Any], key: str, where: str) -> tuple[str, ...] | None:
    """Return a list of names, each once, empty ones left out; None when the file does not have the list.

    Raises InputError when it is not a list, or holds anything but texts and whole numbers.
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
    """Return an object within an object; empty when missing or null. Raises InputError for any other type."""
    value = entry.get(key)
    if value is None or (isinstance(value, str) and not known(value)):
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{where}: expected {key!r} to be an object, got {type(value).__name__}.")
    return value


def objects(entry: Mapping[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """Return a list of objects; empty when missing or null. Raises InputError when it is anything else."""
    value = entry.get(key)
    if value is None:
        return []
    if not isinstance(value, list):
        raise InputError(f"{where}: expected {key!r} to be a list, got {type(value).__name__}.")
    for number, item in enumerate(value):
        if not isinstance(item, dict):
            raise InputError(f"{where}.{key}[{number}]: expected an object, got {type(item).__name__}.")
    return value


def shown(text: str) -> str:
    """Return a name from a file as a message shows it: quoted, escaped, and cut when it is long."""
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]!r}…"


def check_characters(text: str, where: str) -> None:
    """Raise InputError when the text holds a NUL or half a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"{where}: {shown(text)} holds a NUL or half a surrogate pair, which no table can store."
        )
