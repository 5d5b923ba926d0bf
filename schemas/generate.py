"""Write the SDK's modules that have their source here: ``python -m schemas.generate [--check]``.

The contract has one source, ``job_event.avsc``. Its copy in the SDK is a Python module, because that works in a wheel, an
sdist and an editable install, on Windows and for type checkers, where links and copies made by a build do not. A second
module writes the bytes of an event (`generate_record.py`). The rules of redaction (``schemas/redaction``) are copied module
by module. All are committed; ``--check`` fails when one differs from its source.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path
from typing import Any

from schemas.generate_record import generate_record

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "schemas" / "job_event.avsc"
TARGET = ROOT / "workers" / "src" / "jobtrail" / "_contract.py"
RECORD_TARGET = TARGET.with_name("_record.py")
REDACTION = ROOT / "schemas" / "redaction"
REDACTION_TARGET = TARGET.with_name("_redaction")

_PYTHON_TYPES = {
    "string": "str",
    "int": "int",
    "long": "int",
    "boolean": "bool",
    "double": "float",
    "bytes": "bytes",
}

_TEMPLATE = '''"""The contract of the events: schema text, its SHA-256, typed dictionaries, states.

Written by `make contract` from schemas/job_event.avsc; do not edit. `make check` fails when it differs.
"""

# ruff: noqa: E501  # the schema's text is kept as it is, byte for byte

from typing import Literal, NotRequired, TypedDict

SCHEMA_SHA256 = "{sha256}"

SCHEMA_TEXT = """\\
{text}"""

JobState = Literal[
{state_lines}
]

STATES: tuple[JobState, ...] = (
{state_lines}
)


{error_class}


{event_class}
'''


def generate(source_text: str) -> str:
    """Return the text of ``_contract.py`` for the text of an Avro schema. Pure.

    Raises ValueError when the schema's text cannot be put into a Python string unchanged.
    """
    if "\\" in source_text or '"""' in source_text or not source_text.endswith("\n"):
        raise ValueError(
            'job_event.avsc must end with a newline and hold neither a backslash nor """: reword its docs'
        )
    schema = json.loads(source_text)
    by_name = {field["name"]: field for field in schema["fields"]}
    states = by_name["state"]["type"]["symbols"]
    error = next(branch for branch in by_name["error"]["type"] if branch != "null")
    return _TEMPLATE.format(
        sha256=hashlib.sha256(source_text.encode()).hexdigest(),
        text=source_text,
        state_lines="\n".join(f'    "{state}",' for state in states),
        error_class=_typed_dict(error),
        event_class=_typed_dict(schema),
    )


def generate_redaction(sources: dict[str, str]) -> dict[str, str]:
    """Return the texts of the SDK's copy of the rules of redaction, by file name. Pure."""
    return {
        name: f"# Written by `make contract` from schemas/redaction/{name}; do not edit. `make check` fails when it differs.\n"
        + text.replace("schemas.redaction", "jobtrail._redaction")
        for name, text in sources.items()
    }


def _typed_dict(record: dict[str, Any]) -> str:
    lines = [f"class {record['name']}(TypedDict):"]
    if "doc" in record:
        lines += [f'    """{record["doc"]}"""', ""]
    for field in record["fields"]:
        annotation = _annotation(field["type"])
        lines.append(
            f"    {field['name']}: {f'NotRequired[{annotation}]' if 'default' in field else annotation}"
        )
    return "\n".join(lines)


def _annotation(avro: Any) -> str:
    """Return the Python type of an Avro type. Times are integers (microseconds since 1970)."""
    if isinstance(avro, str):
        return _PYTHON_TYPES[avro]
    if isinstance(avro, list):
        return " | ".join("None" if branch == "null" else _annotation(branch) for branch in reversed(avro))
    kind = avro["type"]
    if kind == "array":
        return f"list[{_annotation(avro['items'])}]"
    if kind == "map":
        return f"dict[str, {_annotation(avro['values'])}]"
    if kind in ("record", "enum"):
        return str(avro["name"])
    return _PYTHON_TYPES[kind]


def main(arguments: list[str] | None = None) -> int:
    """Write the modules; with ``--check`` only compare them. Returns 0, or 1 when one differs."""
    parser = argparse.ArgumentParser(
        prog="python -m schemas.generate", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; fail when a module is out of date"
    )
    options = parser.parse_args(arguments)
    source = SOURCE.read_text(encoding="utf-8")
    wanted = {TARGET: generate(source), RECORD_TARGET: generate_record(json.loads(source))}
    rules = {path.name: path.read_text(encoding="utf-8") for path in sorted(REDACTION.glob("*.py"))}
    wanted |= {REDACTION_TARGET / name: text for name, text in generate_redaction(rules).items()}
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text("utf-8") != text]
    left_over = [path for path in REDACTION_TARGET.glob("*.py") if path not in wanted]
    for path in stale + left_over:
        if options.check:
            print(
                f"{path.relative_to(ROOT)} differs from its source in schemas/: run `make contract`",
                file=sys.stderr,
            )
        elif path in wanted:
            path.parent.mkdir(exist_ok=True)
            path.write_text(wanted[path], encoding="utf-8")
        else:
            path.unlink()
    return 1 if options.check and (stale or left_over) else 0


if __name__ == "__main__":
    sys.exit(main())
