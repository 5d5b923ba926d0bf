"""docs/operating.md says of every setting what the code says of it."""

import importlib
import pkgutil
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import settings
from settings.base import PREFIX, Settings

OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"


def test_the_tables_have_every_setting_with_its_default_range_and_meaning() -> None:
    """What a failure calls missing is the line to write."""
    found = set(re.findall(rf"^\| `{PREFIX}\w+` \|.*$", OPERATING.read_text(), re.MULTILINE))
    expected = {line for module in modules() for line in table_lines(module)}
    assert found - expected == set(), "of no setting, or no longer so"
    assert expected - found == set(), "missing"


def modules() -> list[str]:
    """The modules of settings that there are."""
    return [module.name for module in pkgutil.iter_modules(settings.__path__)]


def table_lines(module: str) -> list[str]:
    """A line for each setting that the classes of a module add to those they inherit."""
    lines = []
    for thing in vars(importlib.import_module(f"settings.{module}")).values():
        if (
            isinstance(thing, type)
            and issubclass(thing, Settings)
            and thing.__module__ == f"settings.{module}"
        ):
            own = [name for name in thing.model_fields if name in thing.__annotations__]
            lines += [_line(name, thing.model_fields[name]) for name in own]
    return lines


def _line(name: str, field: Any) -> str:
    cells = [f"`{PREFIX}{name.upper()}`", _default(field), _range(field), field.description]
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _default(field: Any) -> str:
    if field.is_required():
        return "must be set"
    if field.default in (None, ""):
        return "none"
    if isinstance(field.default, tuple):
        return f"`[{', '.join(chr(34) + item + chr(34) for item in field.default)}]`"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


def _range(field: Any) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(field.annotation))
    limits = {
        name: getattr(one, name)
        for one in field.metadata
        for name in ("ge", "gt", "le")
        if getattr(one, name, None) is not None
    }
    least = f"more than {limits['gt']:,}" if "gt" in limits else f"{limits['ge']:,}" if "ge" in limits else ""
    if "le" not in limits:
        return f"from {least}" if least else ""
    return f"{least}{',' if 'gt' in limits else ''} to {limits['le']:,}"
