"""docs/troubleshooting.md quotes messages that the programs really print, and its links are not broken."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "troubleshooting.md"
PACKAGES = ("broker", "cli", "consumers", "schemas", "servers", "settings", "store", "workers/src")

# A cell may quote code within a message: `Run `jobtrail migrate` first`.
_QUOTED = re.compile(r"`((?:[^`]|`(?=jobtrail|mvn)[^`]*`)+)`")
_LOG_EVENT = re.compile(r"log `(\w+)`")


def first_cells() -> list[str]:
    """Return the left column of every table, without the headings."""
    rows = [
        line.split(" | ")[0].removeprefix("| ") for line in PAGE.read_text().splitlines() if line[:2] == "| "
    ]
    return [cell for cell in rows if cell != "you see"]


def texts_in_the_code() -> Iterator[str]:
    """Return every text in the code; for a text with values in it, the parts between them."""
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield " ".join(node.value.split())


@pytest.fixture(scope="module")
def code() -> str:
    return "\n".join(texts_in_the_code())


def test_every_message_that_the_page_quotes_is_in_the_code(code: str) -> None:
    quotes = [quote for cell in first_cells() for quote in _QUOTED.findall(cell)]
    assert len(quotes) > 80
    lacking = [
        part
        for quote in quotes
        for part in re.split(r"…", quote)
        if len(part.strip(" .;:,()")) > 3 and part.strip() not in code
    ]
    assert lacking == []


def test_every_log_event_that_the_page_names_is_in_the_code(code: str) -> None:
    assert [name for name in _LOG_EVENT.findall(PAGE.read_text()) if name not in code.splitlines()] == []


def test_the_pages_links_are_not_broken() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text()):
        path, _, anchor = target.partition("#")
        page = PAGE if not path else (PAGE.parent / path)
        assert page.is_file(), target
        heads = {
            re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-")
            for head in re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
        }
        assert not anchor or anchor in heads, target
