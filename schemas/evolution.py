"""Checks how the contract changes, for every pair of released schemas, by stricter rules than Avro's and the broker's.

With FULL_TRANSITIVE the broker accepts an enum that grew, although consumers of the previous release cannot read the new
symbol. Here a field with a default may be added, and a field with a default may be removed. Nothing else may change after
a release. ``schemas/history`` holds one file for each release, never edited afterwards (checked by ``SHA256SUMS``); the
newest equals ``job_event.avsc``. A new enum symbol needs a plan in ``NNNN.plan.json`` beside the release:

    {"JobState": {"added": ["paused"], "how": "consumers know it since 0.4; publishers write it from 0.5 on"}}

``python -m schemas.evolution`` checks all this and exits with 1 when a rule is broken; with ``--release`` it then writes
the next file of the history.
"""

import hashlib
import json
import sys
from collections.abc import Iterator, Mapping
from importlib.resources import files
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any

from fastavro.validation import validate

from schemas.contract import SCHEMA_TEXT
from schemas.errors import SchemaError

Json = Any
Plan = Mapping[str, frozenset[str]]
"""Name of an enum to the symbols that a release adds on purpose."""

NO_PLAN: Plan = {}
SUMS = "SHA256SUMS"


def history() -> Path:
    """Return the folder of the released schemas."""
    return Path(str(files("schemas").joinpath("history")))


def released(folder: Path | None = None) -> dict[int, str]:
    """Return the text of every released schema by number, oldest first. Raises SchemaError when a number is missing."""
    found = {
        int(path.stem): path.read_text(encoding="utf-8")
        for path in sorted((folder or history()).glob("*.avsc"))
    }
    if not found or list(found) != list(range(1, len(found) + 1)):
        raise SchemaError(
            f"expected the released schemas in {(folder or history()).name}/ to be numbered 0001, 0002, … without a gap, "
            f"got {sorted(found) or 'none'}: restore the missing file; released schemas are never deleted."
        )
    return found


def problems(old: Json, new: Json, plan: Plan = NO_PLAN) -> list[str]:
    """Return why events of ``old`` and ``new`` cannot share a topic; empty when they can."""
    return list(_of_types(old, new, old.get("name", "?"), plan))


def renames(old: Json, new: Json) -> list[str]:
    """Return fields that look renamed from one release to the next: one is removed and one of the same type added."""
    theirs, ours = _fields(old), _fields(new)
    gone = [name for name in theirs if name not in ours]
    come = [name for name in ours if name not in theirs]
    return [
        f"{name} looks renamed to {other}: readers of either release would miss its value. Keep {name}; if they are two "
        f"different things, release the removal and the addition one after the other"
        for name in gone
        for other in come
        if _bare(theirs[name]["type"]) == _bare(ours[other]["type"])
    ]


def check(folder: Path | None = None, current: str = SCHEMA_TEXT) -> list[str]:
    """Return everything that is wrong with the history and the current contract; empty when nothing is."""
    folder = folder or history()
    texts = released(folder)
    schemas = {number: json.loads(text) for number, text in texts.items()}
    plans = {number: _plan(folder / f"{number:04}.plan.json") for number in schemas}
    wrong = list(_changed_releases(folder, texts))
    for first, second in combinations(schemas, 2):
        planned = _added_between(plans, first, second)
        wrong += [
            f"{first:04} and {second:04}: {it}" for it in problems(schemas[first], schemas[second], planned)
        ]
    for first, second in pairwise(schemas):
        wrong += [f"{first:04} to {second:04}: {it}" for it in renames(schemas[first], schemas[second])]
    wrong += [
        f"{number:04}: {it}" for number, schema in schemas.items() for it in _unsound(schema, schema["name"])
    ]
    newest = max(schemas)
    if json.loads(current) != schemas[newest]:
        wrong.append(
            f"job_event.avsc differs from the newest release {newest:04}.avsc: undo the change, or release it with "
            "`python -m schemas.evolution --release`"
        )
    return wrong


def release(folder: Path | None = None, current: str = SCHEMA_TEXT) -> Path:
    """Write the contract as the next file of the history. Raises SchemaError, and writes nothing, when a rule forbids it."""
    folder = folder or history()
    texts = released(folder)
    number = max(texts) + 1
    path = folder / f"{number:04}.avsc"
    plan = _plan(folder / f"{number:04}.plan.json")
    new = json.loads(current)
    wrong = list(_unsound(new, new["name"])) + renames(json.loads(texts[number - 1]), new)
    for earlier, text in texts.items():
        plans = {n: _plan(folder / f"{n:04}.plan.json") for n in texts} | {number: plan}
        planned = _added_between(plans, earlier, number)
        wrong += [f"against {earlier:04}: {it}" for it in problems(json.loads(text), new, planned)]
    if new == json.loads(texts[number - 1]):
        wrong.append(f"job_event.avsc is the same as {number - 1:04}.avsc: there is nothing to release")
    if wrong:
        raise SchemaError(f"cannot release {path.name}: {'; '.join(wrong)}.")
    path.write_text(current, encoding="utf-8")
    with (folder / SUMS).open("a", encoding="utf-8") as sums:
        sums.write(f"{_sum(current)}  {path.name}\n")
    return path


def _of_types(old: Json, new: Json, path: str, plan: Plan) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict) and old.get("type") == new.get("type"):
        kind = old["type"]
        if kind in ("record", "enum") and _full_name(old) != _full_name(new):
            yield f"{path} is named {_full_name(new)}, it was {_full_name(old)}: a name must not change"
        elif kind == "record":
            yield from _of_records(old, new, path, plan)
            return
        elif kind == "enum":
            yield from _of_enums(old, new, path, plan)
            return
        elif kind in ("array", "map"):
            inside = "items" if kind == "array" else "values"
            yield from _of_types(old[inside], new[inside], f"{path}[]", plan)
            return
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for theirs, ours in zip(old, new, strict=True):
            yield from _of_types(theirs, ours, path, plan)
        return
    if _bare(old) != _bare(new):
        yield (
            f"{path} changes its type from {json.dumps(_bare(old))} to {json.dumps(_bare(new))}: a type must not change, "
            "not even from int to long or to nullable. Add a field of the new type beside it"
        )


def _of_records(old: Json, new: Json, path: str, plan: Plan) -> Iterator[str]:
    theirs, ours = _fields(old), _fields(new)
    for name in theirs.keys() | ours.keys():
        where = f"{path}.{name}"
        if name not in theirs:
            if "default" not in ours[name]:
                yield f"{where} is new and has no default: old events could not be read. Give it a default"
        elif name not in ours:
            if "default" not in theirs[name]:
                yield f"{where} is removed and had no default: old readers need it. Keep it"
        else:
            yield from _of_types(theirs[name]["type"], ours[name]["type"], where, plan)
            if theirs[name].get("default", _NONE) != ours[name].get("default", _NONE):
                yield f"{where} changes its default: the same bytes would have two meanings. Keep the default"


def _of_enums(old: Json, new: Json, path: str, plan: Plan) -> Iterator[str]:
    for symbol in old["symbols"]:
        if symbol not in new["symbols"]:
            yield f"{path} loses the symbol {symbol}: stored events have it. Keep it"
    for symbol in new["symbols"]:
        if symbol not in old["symbols"] and symbol not in plan.get(new["name"], ()):
            yield (
                f"{path} gains the symbol {symbol}: consumers of earlier releases would make its events dead letters, "
                "and the broker would not prevent it. Update the consumers first, and write a plan (NNNN.plan.json)"
            )


_NONE = object()


def _unsound(schema: Json, path: str) -> Iterator[str]:
    """Yield what is wrong with one schema by itself: aliases, and defaults that do not fit their field's type."""
    if isinstance(schema, list):
        for branch in schema:
            yield from _unsound(branch, path)
    elif isinstance(schema, dict):
        if "aliases" in schema:
            yield f"{path} has aliases: renames are refused, and consumers ignore aliases. Remove them"
        for field in schema.get("fields", ()):
            where = f"{path}.{field['name']}"
            if "aliases" in field:
                yield f"{where} has aliases: renames are refused, and consumers ignore aliases. Remove them"
            yield from _unsound(field["type"], where)
            if "default" in field:
                kind = field["type"][0] if isinstance(field["type"], list) else field["type"]
                if not validate(field["default"], _bare(kind), raise_errors=False):
                    yield f"{where} has the default {json.dumps(field['default'])}, which does not fit its type"
        for inside in ("items", "values"):
            if inside in schema:
                yield from _unsound(schema[inside], f"{path}[]")


def _fields(record: Json) -> dict[str, Json]:
    return {field["name"]: field for field in record["fields"]}


def _full_name(named: Json) -> str:
    return f"{named['namespace']}.{named['name']}" if "namespace" in named else str(named["name"])


def _bare(node: Json) -> Json:
    """Return a type without its documentation. ``{"type": "string"}`` becomes ``"string"``."""
    if isinstance(node, list):
        return [_bare(one) for one in node]
    if isinstance(node, dict):
        kept = {
            name: _bare(value) if name != "default" else value
            for name, value in node.items()
            if name != "doc"
        }
        return kept["type"] if set(kept) == {"type"} else kept
    return node


def _plan(path: Path) -> Plan:
    if not path.exists():
        return NO_PLAN
    try:
        plan = json.loads(path.read_text(encoding="utf-8"))
        if not all(str(enum["how"]).strip() for enum in plan.values()):
            raise SchemaError(f"{path.name} does not say how the consumers learn the new symbols first.")
        return {name: frozenset(enum["added"]) for name, enum in plan.items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SchemaError(
            f'{path.name} cannot be read ({error!r}): expected {{"JobState": {{"added": ["…"], "how": "…"}}}}.'
        ) from error


def _added_between(plans: Mapping[int, Plan], first: int, second: int) -> Plan:
    """Return the symbols that the plans after release ``first``, up to ``second``, add."""
    added: dict[str, frozenset[str]] = {}
    for number in range(first + 1, second + 1):
        for name, symbols in plans[number].items():
            added[name] = added.get(name, frozenset()) | symbols
    return added


def _changed_releases(folder: Path, texts: Mapping[int, str]) -> Iterator[str]:
    path = folder / SUMS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    noted = {name: total for total, name in (line.split(maxsplit=1) for line in lines if line.strip())}
    for number, text in texts.items():
        name = f"{number:04}.avsc"
        if noted.get(name) != _sum(text):
            yield f"{name} differs from what was released ({SUMS}): restore it, and put the change into a new release"


def _sum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def main(arguments: list[str]) -> int:
    """Check, or release with ``--release``. Returns 0, or 1 when a rule is broken."""
    try:
        if arguments == ["--release"]:
            sys.stdout.write(f"released {release().name}\n")
            return 0
        wrong = check()
    except SchemaError as error:
        wrong = [str(error)]
    sys.stderr.writelines(f"{it}\n" for it in wrong)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
