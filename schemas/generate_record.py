"""Generate the SDK's module that writes an event's bytes, from ``job_event.avsc``. Pure; `generate.py` writes the file.

The module has one function for each record and one line for each field, in the order of the schema, so the schema is not
needed while events are written. The SDK's `_avro.py` writes the single values.
"""

import json
from typing import Any

_TEMPLATE = '''"""Encode an event in Avro: each of its fields, in the order of the contract.

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
    """Return the bytes of a {name}. A field that it lacks gets the default of the contract.

    Raises KeyError, TypeError, ValueError, OverflowError or AttributeError when it is not a {name}.
    """
    get = record.get
    return b"".join(
        (
{fields}
        )
    )'''

_ENTRIES = """def {function}(value: Any, text: Texts) -> bytes:
    return block([{entry} for {names}])"""

# Defaults of unions, arrays and maps. Generated code need not name them: an absent value is written in the same way.
_ABSENT: tuple[Any, ...] = (None, [], {})


def generate_record(schema: dict[str, Any]) -> str:
    """Return the text of ``_record.py``.

    Raises ValueError for a type that is new in the contract: it needs a branch here, and examples in the tests.
    """
    module = _Module()
    module.record(schema)
    definitions = "\n\n\n".join(module.enums + module.functions)
    imports = [name for name in ("EMPTY", "NUMBERS", "Texts", "block", "moment") if name in definitions]
    return _TEMPLATE.format(imports=", ".join(imports), definitions=definitions)


class _Module:
    """Collects the module's parts while the schema is walked. Inner records come before the records around them."""

    def __init__(self) -> None:
        self.enums: list[str] = []
        self.functions: list[str] = []

    def record(self, schema: dict[str, Any]) -> str:
        """Add the function of a record, and return its name."""
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
        """Return the expression for a value's bytes; ``value`` is the expression for the value."""
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
    """Return the expression for a field's value, or for its default when the record has none."""
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
    return ValueError(
        f"{field}: cannot generate code for {avro!r:.200}: add a branch to schemas/generate_record.py"
    )


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")
