"""Write a job's arguments as JSON, with the secrets redacted, within limits of depth, breadth and bytes.

`_redaction` decides what a secret is: it is a copy of the pipeline's rules. This module applies them to arguments: to the
names of mappings, fields, headers and options, and to every text.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from json.encoder import encode_basestring
from typing import Any, Final

from jobtrail._fields import Field, fields_of
from jobtrail._redaction import REDACTED, Redactor
from jobtrail._text import ARGS_LIMIT, clean, cut_end, text_of

_REDACTED_JSON: Final = json.dumps(REDACTED)
_DEPTH_LIMIT: Final = 8
_ITEMS_LIMIT: Final = 200
_NODES_LIMIT: Final = 2_000
_KEY_CHARACTERS: Final = 500
_TEXT_LIMIT: Final = 2 * ARGS_LIMIT
_CONSTANTS: Final = {None: "null", True: "true", False: "false"}
# {"name": "Authorization", "value": …}
_NAMES_OF_NAMES: Final = ("name", "key", "header")
_NAME_OF_VALUES: Final = "value"
_TAKE_PASSWORDS: Final = ("mysql", "mariadb")
# curl -u user:S
_OPTIONS_OF_USERS: Final = ("-u", "--user", "--proxy-user")


def args_json(value: object, redactor: Redactor, limit: int = ARGS_LIMIT) -> str:
    """Return ``value`` as JSON of at most ``limit`` bytes of UTF-8, with its secrets redacted. Never raises.

    Objects that JSON does not know become text or an object of their fields. A place that is too deep or too broad says
    so. A text that was cut at the limit is not valid JSON any more; it says so at its end.
    """
    try:
        return cut_end(_Writer(redactor).json(value, 0), limit)
    except Exception as error:
        return json.dumps(f"[args could not be recorded: {type(error).__name__}]")[:limit]


class _Writer:
    """Write any object as JSON, and count its parts, so that no argument costs the job much time.

    By hand and in one pass: for so little, the json module spends most of its time on preparations.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self._nodes = 0

    def json(self, value: object, depth: int, *, in_list: bool = False) -> str:
        self._nodes += 1
        if self._nodes > _NODES_LIMIT:
            return '"[too many]"'
        if value is None or value is True or value is False:
            return _CONSTANTS[value]
        # The exact types first: nearly all values have them, and checking for an abstract type is slow.
        kind = type(value)
        if kind is str or isinstance(value, str):
            return self._text(value)
        if kind is dict and depth < _DEPTH_LIMIT:
            return self._mapping(value, depth)  # type: ignore[arg-type]  # is a dict
        if isinstance(value, int):
            # Python refuses to print very long integers.
            return int.__repr__(value) if -(2**63) <= value < 2**63 else '"[integer beyond 64 bits]"'
        if isinstance(value, float):
            return float.__repr__(value) if math.isfinite(value) else encode_basestring(text_of(value))
        if isinstance(value, bytes | bytearray | memoryview):
            return f'"[{len(value)} bytes]"'
        if depth >= _DEPTH_LIMIT:
            return '"[too deep]"'
        if isinstance(value, Mapping):
            return self._mapping(value, depth)
        if kind is list:
            return self._list(value, depth, in_list=in_list)  # type: ignore[arg-type]  # is a list
        fields = fields_of(value)
        if fields is not None:
            return self._fields(fields, depth)
        if isinstance(value, list | tuple):
            return self._list(value, depth, in_list=in_list or isinstance(value, tuple))
        if isinstance(value, set | frozenset):
            return self._items(value, depth)
        return self._text(value)

    def _text(self, value: object) -> str:
        text = text_of(value)
        if len(text) > _TEXT_LIMIT:
            text = cut_end(text, _TEXT_LIMIT)
        return encode_basestring(self._redactor.text(clean(text)))

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> str:
        written: dict[str, str] = {}
        named = self._named_secret(value)
        for key, item in value.items():
            if len(written) >= _ITEMS_LIMIT:
                written["…"] = f'"[{len(value) - _ITEMS_LIMIT} more]"'
                break
            name = clean(text_of(key)[:_KEY_CHARACTERS])
            hidden = self._redactor.hides(name, item) or (named and name.lower() == _NAME_OF_VALUES)
            written[name] = _REDACTED_JSON if hidden else self.json(item, depth + 1)
        return _object(written)

    def _named_secret(self, value: Mapping[Any, Any]) -> bool:
        """Say whether a mapping holds a secret's name and its value: ``{"name": "Cookie", "value": …}``."""
        if not 2 <= len(value) <= 8 or _NAME_OF_VALUES not in value:
            return False
        return any(
            isinstance(name := value.get(key), str) and bool(self._redactor.secrecy(name))
            for key in _NAMES_OF_NAMES
        )

    def _fields(self, fields: Iterable[Field], depth: int) -> str:
        written: dict[str, str] = {}
        for name, item, is_hidden in fields:
            if len(written) >= _ITEMS_LIMIT:
                written["…"] = '"[more]"'
                break
            hidden = self._redactor.hides(name, item) or (is_hidden and item is not None)
            written[clean(name[:_KEY_CHARACTERS])] = _REDACTED_JSON if hidden else self.json(item, depth + 1)
        return _object(written)

    def _list(self, value: Sequence[Any], depth: int, *, in_list: bool) -> str:
        if in_list and len(value) == 2 and isinstance(value[0], str | bytes):
            # A header: ("Authorization", "Bearer …"). A list of two that is in no other list may hold two names.
            name = text_of(value[0])
            if self._redactor.hides(name, value[1]):
                return f"[{self.json(value[0], depth + 1)}, {_REDACTED_JSON}]"
        return self._items(value, depth)

    def _items(self, value: Iterable[Any], depth: int) -> str:
        written: list[str] = []
        program = option = ""
        for item in value:
            if len(written) >= _ITEMS_LIMIT:
                written.append('"[more]"')
                break
            is_text = isinstance(item, str)
            if is_text and option and not item.startswith("-"):
                written.append(self._of_option(option, item))
            elif is_text and item.startswith("-p") and len(item) > 2 and program.startswith(_TAKE_PASSWORDS):
                written.append(f'"-p{REDACTED}"')  # mysql -pS
            else:
                written.append(self.json(item, depth + 1, in_list=True))
            if is_text and not program:
                program = item.rpartition("/")[2]
            option = item if is_text and item.startswith("-") else ""
        return f"[{', '.join(written)}]"

    def _of_option(self, option: str, value: str) -> str:
        """Write the value that follows an option in a list: ``["--password", "S"]``."""
        if option in _OPTIONS_OF_USERS:
            user, colon, _ = value.partition(":")
            return encode_basestring(clean(f"{user}:{REDACTED}")) if colon else self._text(value)
        if option.startswith("--") and self._redactor.hides(option, value):
            return _REDACTED_JSON
        return self._text(value)


def _object(written: Mapping[str, str]) -> str:
    return f"{{{', '.join([f'{encode_basestring(name)}: {text}' for name, text in written.items()])}}}"
