"""Rules for the tests themselves that no linter checks."""

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_no_test_file_imports_another() -> None:
    """Code that several tests share belongs in a module without tests, in testing/ or beside them."""
    importing = {
        f"{path.relative_to(ROOT)} imports {name}"
        for folder in ("tests", "workers/tests", "bench", "testing")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for name in _imported(path)
        if any(part.startswith("test_") for part in name.split("."))
    }
    assert importing == set()


def test_an_import_of_a_test_file_is_found(tmp_path: Path) -> None:
    source = tmp_path / "one.py"
    source.write_text("from tests.law.test_law import holds\nfrom tests.law import test_oracle\n")
    assert _imported(source) == {"tests.law.test_law.holds", "tests.law.test_oracle"}


def _imported(path: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{one.name}" for one in node.names}
    return found
