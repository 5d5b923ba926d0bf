"""docs/settings.md shows every setting as the code defines it."""

import pytest

from settings import document
from settings.base import PREFIX


def test_the_page_has_every_setting_once() -> None:
    """Inherited settings are listed where they are defined."""
    named = [
        line.split("`")[1]
        for module in document.modules_with_settings()
        for line in document.table_lines(module)
    ]
    assert len(named) == len(set(named)) > 50
    page = document.page()
    assert [name for name in named if page.count(f"| `{name}` |") != 1] == []
    assert all(name.startswith(PREFIX) for name in named)


def test_the_page_in_the_checkout_is_fresh() -> None:
    assert document.PAGE.read_text(encoding="utf-8") == document.page()


def test_a_module_without_a_section_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(document, "SECTIONS", document.SECTIONS[1:])
    with pytest.raises(LookupError, match="no section for: broker"):
        document.page()
