"""Which changes of the contract a release may make, and which it may not, even if the broker would accept them."""

import copy
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from schemas.contract import SCHEMA, SCHEMA_TEXT
from schemas.errors import SchemaError
from schemas.evolution import check, history, problems, release, released, renames

Change = Callable[[dict[str, Any]], None]


def changed(change: Change) -> dict[str, Any]:
    schema = copy.deepcopy(SCHEMA)
    change(schema)
    return schema


def field(schema: dict[str, Any], name: str) -> dict[str, Any]:
    return next(one for one in schema["fields"] if one["name"] == name)


def error_record(schema: dict[str, Any]) -> dict[str, Any]:
    record: dict[str, Any] = field(schema, "error")["type"][1]
    return record


def add(name: str, kind: Any, **more: Any) -> Change:
    return lambda schema: schema["fields"].append({"name": name, "type": kind, **more})


def drop(name: str) -> Change:
    return lambda schema: schema["fields"].remove(field(schema, name))


def retype(name: str, kind: Any) -> Change:
    return lambda schema: field(schema, name).update(type=kind)


def redefault(name: str, value: Any) -> Change:
    return lambda schema: field(schema, name).update(default=value)


ALLOWED: dict[str, Change] = {
    "nothing changes": lambda schema: None,
    "a field is added with a default": add("host", "string", default=""),
    "a field of the error is added with a default": lambda schema: error_record(schema)["fields"].append(
        {"name": "cause", "type": "string", "default": ""}
    ),
    "a field with a default is removed": drop("release"),
    "another order of fields": lambda schema: schema["fields"].reverse(),
    "other documentation": lambda schema: schema.update(doc="other words"),
    "the same type in long form": retype("queue", {"type": "string"}),
}

REFUSED: dict[str, tuple[Change, str]] = {
    "a field is added without a default": (add("host", "string"), "host is new and has no default"),
    "a field without a default is removed": (drop("queue"), "queue is removed and had no default"),
    "a field is renamed": (lambda schema: field(schema, "queue").update(name="lane"), "queue is removed"),
    "int becomes long": (retype("attempt", "long"), 'attempt changes its type from "int" to "long"'),
    "int becomes string": (retype("attempt", "string"), "attempt changes its type"),
    "string becomes bytes": (retype("args", "bytes"), "args changes its type"),
    "a field becomes nullable": (retype("queue", ["null", "string"]), "queue changes its type"),
    "a time loses its unit": (retype("occurred_at", "long"), "occurred_at changes its type"),
    "a time changes its unit": (
        retype("occurred_at", {"type": "long", "logicalType": "timestamp-millis"}),
        "occurred_at changes its type",
    ),
    "the values of a map change": (
        retype("expected_children", {"type": "map", "values": "long"}),
        "expected_children[] changes its type",
    ),
    "the items of an array change": (
        retype("depends_on", {"type": "array", "items": "long"}),
        "depends_on[] changes its type",
    ),
    "the error can no longer be null": (
        lambda schema: field(schema, "error").update(type=error_record(schema)),
        "error changes its type",
    ),
    "the union grows": (
        lambda schema: field(schema, "error")["type"].append("string"),
        "error changes its type",
    ),
    "an enum gains a symbol": (
        lambda schema: field(schema, "state")["type"]["symbols"].append("paused"),
        "state gains the symbol paused",
    ),
    "an enum gains a symbol and a default": (
        lambda schema: field(schema, "state")["type"].update(
            symbols=[*field(schema, "state")["type"]["symbols"], "paused"], default="available"
        ),
        "state gains the symbol paused",
    ),
    "an enum loses a symbol": (
        lambda schema: field(schema, "state")["type"]["symbols"].remove("suspended"),
        "state loses the symbol suspended",
    ),
    "the enum is renamed": (
        lambda schema: field(schema, "state")["type"].update(name="State"),
        "state is named State",
    ),
    "the record is renamed": (lambda schema: schema.update(name="Event"), "is named jobtrail.Event"),
    "the record moves": (lambda schema: schema.update(namespace="org"), "is named org.JobEvent"),
    "a default changes": (redefault("depth", 0), "depth changes its default"),
    "a default is added": (redefault("queue", ""), "queue changes its default"),
    "a default is removed": (
        lambda schema: field(schema, "source").pop("default"),
        "source changes its default",
    ),
    "a field of the error changes": (
        lambda schema: error_record(schema)["fields"][0].update(type="bytes"),
        "error.category changes its type",
    ),
}


@pytest.mark.parametrize("change", ALLOWED.values(), ids=ALLOWED)
def test_a_change_that_every_reader_can_handle_is_allowed(change: Change) -> None:
    """New consumers can read old events, and old consumers can read new ones."""
    new = changed(change)
    assert problems(SCHEMA, new) == []
    assert renames(SCHEMA, new) == []


@pytest.mark.parametrize(("change", "expected"), REFUSED.values(), ids=REFUSED)
def test_a_change_that_a_reader_could_not_handle_is_refused(change: Change, expected: str) -> None:
    """The message names the field, and says what to do instead."""
    found = problems(SCHEMA, changed(change))
    assert any(expected in problem for problem in found), found


def test_dropping_a_field_and_adding_one_of_its_type_is_treated_as_a_rename() -> None:
    """Both have defaults, so Avro and the broker accept it, but the value would be lost silently."""
    new = changed(lambda schema: field(schema, "external_id").update(name="subject"))
    assert problems(SCHEMA, new) == []
    (found,) = renames(SCHEMA, new)
    assert found.startswith("external_id looks renamed to subject: readers of either release would miss it")


def test_the_contract_is_the_newest_release_and_the_history_holds() -> None:
    """`make check` runs this."""
    assert check() == []
    ended = subprocess.run(
        [sys.executable, "-m", "schemas.evolution"], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    copied = tmp_path / "history"
    shutil.copytree(history(), copied)
    return copied


def test_a_contract_that_was_changed_but_not_released_is_noticed(folder: Path) -> None:
    """It is refused even when the change itself would be allowed."""
    new = json.dumps(changed(add("host", "string", default="")))
    assert any("job_event.avsc differs from the newest release" in it for it in check(folder, new))


def test_a_release_is_written_beside_the_others_and_becomes_the_newest(folder: Path) -> None:
    """From then on it may not change."""
    newest = max(released())
    new = json.dumps(changed(add("host", "string", default="")))
    path = release(folder, new)
    assert path.name == f"{newest + 1:04}.avsc"
    assert check(folder, new) == []
    with pytest.raises(SchemaError, match="nothing to release"):
        release(folder, new)
    path.write_text(new.replace('"host"', '"hostname"'))
    assert any("differs from what was released" in it for it in check(folder, path.read_text()))


def test_a_release_that_breaks_a_rule_is_not_written(folder: Path) -> None:
    """The rules compare it with the previous release."""
    with pytest.raises(SchemaError, match="attempt changes its type"):
        release(folder, json.dumps(changed(retype("attempt", "long"))))
    assert released(folder) == released()


def test_a_release_is_compared_with_all_earlier_ones(folder: Path) -> None:
    """A name that was dropped two releases ago cannot return with another meaning, because old events still have it."""
    release(folder, json.dumps(changed(drop("release"))))
    again = changed(drop("release"))
    add("release", "int", default=0)(again)
    with pytest.raises(SchemaError, match=r"against 0001: JobEvent\.release changes its type"):
        release(folder, json.dumps(again))


def test_a_new_symbol_needs_a_plan_that_says_how_consumers_learn_it(folder: Path) -> None:
    """The broker would accept it without a plan."""
    new = json.dumps(changed(lambda schema: field(schema, "state")["type"]["symbols"].append("paused")))
    plan = folder / f"{max(released()) + 1:04}.plan.json"
    with pytest.raises(SchemaError, match="gains the symbol paused"):
        release(folder, new)
    plan.write_text('{"JobState": {"added": ["paused"], "how": ""}}')
    with pytest.raises(SchemaError, match="does not say how"):
        release(folder, new)
    plan.write_text('{"JobState": ["paused"]}')
    with pytest.raises(SchemaError, match="cannot be read"):
        release(folder, new)
    plan.write_text(
        '{"JobState": {"added": ["paused"], "how": "consumers know it since 0.4, publishers from 0.5"}}'
    )
    release(folder, new)
    assert check(folder, new) == []


def test_a_missing_release_is_named(folder: Path) -> None:
    """Released schemas are kept for ever: messages written with them are still in the log."""
    (folder / "0001.avsc").rename(folder / "0002.avsc")
    with pytest.raises(SchemaError, match="without a gap, got \\[2\\]"):
        check(folder, SCHEMA_TEXT)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (add("host", "string", default=7), "host has the default 7"),
        (add("host", "string", default="", aliases=["queue"]), "host has aliases"),
        (lambda schema: schema.update(aliases=["Event"]), "JobEvent has aliases"),
        (redefault("error", "none"), 'error has the default "none"'),
    ],
    ids=["default of another type", "alias of a field", "alias of the record", "default of another branch"],
)
def test_a_schema_with_a_fault_of_its_own_is_not_released(
    folder: Path, change: Change, expected: str
) -> None:
    """Decoding uses the defaults unchanged, and follows no alias."""
    with pytest.raises(SchemaError, match=expected):
        release(folder, json.dumps(changed(change)))
