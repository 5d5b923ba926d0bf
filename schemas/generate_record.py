"""The module by which the SDK writes an event's bytes, from ``job_event.avsc``. Pure; `generate.py` writes and compares it.

One function for each record and one line for each field, in the order of the schema: nothing is left to be asked of the
schema while events are written. How a value becomes bytes says the SDK's `_avro.py`.
"""

import json
from typing import Any

_TEMPLATE = '''"""An event as Avro writes it: each of its fields, in the order of the contract.

Written by `make contract` from schemas/job_event.avsc; do not edit. `make check` fails when it differs.
"""

from collections.abc import Mapping
from typing import Any

from jobtrail._avro import {imports}

{definitions}
'''

_ENUM = """{name} = {{
{symbols}
}}"""

_RECORD = '''def {function}(record: Mapping[str, Any], text: Texts) -> bytes:
    """Give the bytes of a {name}; what it does not say has the default of the contract.

    Raises KeyError, TypeError, ValueError, OverflowError or AttributeError when it is none.
    """
    get = record.get
    return b"".join(
        (
{fields}
        )
    )'''

_ENTRIES = """def {function}(value: Any, text: Texts) -> bytes:
    return block([{entry} for {names}])"""

# Defaults of unions, arrays and maps; they need not be said, because a value that is none of its own is written so.
_ABSENT: tuple[Any, ...] = (None, [], {})


def generate_record(schema: dict[str, Any]) -> str:
    """Give the text of ``_record.py``: the same in, the same out.

    Raises ValueError for a type that the contract has not had yet: it needs a branch here, and examples in the tests.
    """
    module = _Module()
    module.record(schema)
    definitions = "\n\n\n".join(module.enums + module.functions)
    imports = [name for name in ("EMPTY", "NUMBERS", "Texts", "block", "moment") if name in definitions]
    return _TEMPLATE.format(imports=", ".join(imports), definitions=definitions)


class _Module:
    """What the module is made of, gathered while the schema is walked: inner records come before those they are in."""

    def __init__(self) -> None:
        self.enums: list[str] = []
        self.functions: list[str] = []

    def record(self, schema: dict[str, Any]) -> str:
        """Add a record's function; gives its name."""
        fields = [
            f"            {self._value(field['name'], field['type'], _of(field))},"
            for field in schema["fields"]
        ]
        function = _snake(schema["name"])
        self.functions.append(
            _RECORD.format(function=function, name=schema["name"], fields="\n".join(fields))
        )
        return function

    def _value(self, field: str, avro: Any, value: str) -> str:
        """The expression of a value's bytes; ``value`` is the expression of the value."""
        if isinstance(avro, list):
            return self._union(field, avro, value)
        kind = _kind(avro)
        if kind == "string":
            return f"text[{value}]"
        if kind in ("int", "long"):
            return (
                f"moment({value})"
                if isinstance(avro, dict) and "logicalType" in avro
                else f"NUMBERS[{value}]"
            )
        if kind == "enum":
            return f"{self._enum(avro)}[{value}]"
        if kind == "array":
            return self._entries(field, value, self._value(field, avro["items"], "item"), "item in value")
        if kind == "map":
            entry = f"text[key] + {self._value(field, avro['values'], 'item')}"
            return self._entries(field, value, entry, "key, item in value.items()")
        raise _unknown(field, avro)

    def _union(self, field: str, avro: list[Any], value: str) -> str:
        if avro[0] != "null" or [_kind(branch) for branch in avro[1:]] != ["record"]:
            raise _unknown(field, avro)
        function = self.record(avro[1])
        return rf'b"\x02" + {function}(value, text) if (value := {value}) is not None else b"\x00"'

    def _entries(self, field: str, value: str, entry: str, names: str) -> str:
        function = f"_{field}"
        self.functions.append(_ENTRIES.format(function=function, entry=entry, names=names))
        return f"{function}(value, text) if (value := {value}) else EMPTY"

    def _enum(self, avro: dict[str, Any]) -> str:
        name = f"_{_snake(avro['name']).upper()}"
        symbols = [f'    "{symbol}": NUMBERS[{number}],' for number, symbol in enumerate(avro["symbols"])]
        self.enums.append(_ENUM.format(name=name, symbols="\n".join(symbols)))
        return name


def _kind(avro: Any) -> str:
    return str(avro["type"] if isinstance(avro, dict) else avro)


def _of(field: dict[str, Any]) -> str:
    """The expression of a field's value, or of what it is when the record does not say."""
    if "default" not in field:
        return f'record["{field["name"]}"]'
    default = field["default"]
    if default in _ABSENT:
        return f'get("{field["name"]}")'
    if type(default) not in (str, int):
        raise _unknown(field["name"], field)
    shown = json.dumps(default, ensure_ascii=False)
    return f'get("{field["name"]}", {shown})'


def _unknown(field: str, avro: Any) -> ValueError:
    return ValueError(f"{field}: no way to write {avro!r:.200}: add one to schemas/generate_record.py")


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
