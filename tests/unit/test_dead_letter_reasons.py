"""The reasons of dead letters: one enumeration, explained in docs/dead-letters.md and used everywhere."""

import ast
import re
from pathlib import Path

import pytest

from cli.main import run
from schemas.dead_letter_reasons import DeadLetterReason

ROOT = Path(__file__).parents[2]
PIPELINE = ("schemas", "derive", "broker", "store", "consumers", "cli")
OTHER_MEANINGS = {
    "consumers/metrics/tally.py": {"too_long"},
    "consumers/writing/isolation.py": {"refused_by_database"},
    "schemas/redaction/names.py": {"encrypted"},
    "schemas/redaction/values.py": {"malformed"},
}
"""Words with another meaning in a file, by file: a reason of another metric, or the name of a log line."""


def test_the_documentation_explains_every_reason_and_no_other() -> None:
    text = (ROOT / "docs/dead-letters.md").read_text(encoding="utf-8")
    table = text.split("## The reasons")[1].split("\n## ")[0]
    explained = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert sorted(explained) == sorted(DeadLetterReason)


def test_every_reason_is_used() -> None:
    code = "\n".join(path.read_text(encoding="utf-8") for path in _modules())
    unused = [reason.name for reason in DeadLetterReason if f"DeadLetterReason.{reason.name}" not in code]
    assert unused == []


def test_no_module_writes_a_reason_as_a_loose_string() -> None:
    words = set(DeadLetterReason)
    loose = [
        f"{path.relative_to(ROOT)}:{node.lineno}: {node.value}"
        for path in _modules()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant)
        and node.value in words - OTHER_MEANINGS.get(str(path.relative_to(ROOT)), set())
    ]
    assert loose == []


def test_an_unknown_reason_is_refused_with_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A misspelt reason must not be answered with "no dead letters"."""
    for command in ("list", "retry", "purge"):
        assert run(["dead-letters", command, "--reason", "malfromed"]) == 2
        error = " ".join(capsys.readouterr().err.split())
        assert "malfromed" in error
        assert all(reason.value in error for reason in DeadLetterReason)


def _modules() -> list[Path]:
    found = [path for name in PIPELINE for path in sorted((ROOT / name).rglob("*.py"))]
    return [path for path in found if path.name != "dead_letter_reasons.py"]
