"""Small WfFormat documents for tests, as parsed JSON, and a function that writes them to a file."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from publishers.wfformat.read import read
from schemas.errors import InputError


def a_task(
    task: str, parents: list[str], seconds: float = 1.0, program: str = "cook"
) -> tuple[dict[str, Any], ...]:
    """Return the two entries of a task: in the specification and in the execution."""
    return (
        {"id": task, "name": task, "parents": parents},
        {"id": task, "runtimeInSeconds": seconds, "command": {"program": program}},
    )


def a_document(*tasks: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    """Return a small, complete WfFormat document; children are filled in from the parents."""
    specified = [copy.deepcopy(task[0]) for task in tasks]
    for entry in specified:
        entry["children"] = [other["id"] for other in specified if entry["id"] in other["parents"]]
    return {
        "name": "kitchen",
        "schemaVersion": "1.5",
        "runtimeSystem": {"name": "Pegasus", "version": "5.0"},
        "workflow": {
            "specification": {"tasks": specified},
            "execution": {"executedAt": "2020-12-28T16:54:52+00:00", "tasks": [task[1] for task in tasks]},
        },
    }


DIAMOND = a_document(
    a_task("a", [], 2.0), a_task("b", ["a"], 3.0), a_task("c", ["a"], 5.0), a_task("d", ["b", "c"], 0.0)
)


def written(folder: Path, document: object, name: str = "kitchen.json") -> Path:
    path = folder / name
    path.write_text(json.dumps(document))
    return path


def specified(document: dict[str, Any]) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = document["workflow"]["specification"]["tasks"]
    return tasks


def executed(document: dict[str, Any]) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = document["workflow"]["execution"]["tasks"]
    return tasks


def refused(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    return message
