"""Writes docs/settings.md from the settings' classes: ``python -m settings.document [--check]``.

A setting is described once, where it is defined. `make docs` writes the page, and `make check` fails when it differs.
"""

import argparse
import importlib
import pkgutil
import sys
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import settings
from settings.base import PREFIX, Settings

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "settings.md"

SECTIONS: Final = (
    (
        "broker",
        "The broker",
        "Read by every command that talks to Pulsar; the SDK reads those of the same names, except the admin URL.",
    ),
    (
        "database",
        "Postgres",
        "Read by every command that talks to Postgres. What the URL does not say, libpq takes from its own variables "
        "(`PGPASSWORD`, `PGSSLMODE`, …) and files (`~/.pgpass`).",
    ),
    ("service", "Every service", "`jobtrail aggregate`, `jobtrail metrics`, `jobtrail rebuild`."),
    (
        "consumer",
        "Both consumers",
        "`jobtrail aggregate`, `jobtrail metrics`. [What the watchdog is](operating.md#the-watchdog).",
    ),
    ("aggregator", "`jobtrail aggregate`", ""),
    ("metrics", "`jobtrail metrics`", "[What it counts](metrics.md)."),
    (
        "retention",
        "Retention",
        "`jobtrail aggregate`, `jobtrail retain`. [What is deleted, and when](operating.md#retention).",
    ),
    ("rebuild", "`jobtrail rebuild`", "[What it does](rebuild.md)."),
    ("provision", "`jobtrail provision`", ""),
    ("answers", "The answering commands", "[What stuck and lost mean](answers.md)."),
)
"""Module, title and introduction of each section, in the page's order."""

_NO_FIELDS_OF_ITS_OWN: Final = frozenset({"retain"})

_HEAD: Final = """# Settings

Written by `make docs` from `settings/`; do not edit.

Settings are read from the environment, else from the TOML file that `JOBTRAIL_CONFIG_FILE` names, where `JOBTRAIL_PULSAR_URL` is
`pulsar_url`. An empty variable counts as unset. Lists are JSON: `JOBTRAIL_METRICS_WINDOWS='["5m", "1h"]'`. A wrong value stops the
program at its start, with all problems in one line. An unknown name is ignored; every command reports it on standard error and every
service in its log (`unknown_setting`), with the name that was probably meant. Secrets are never printed. The SDK's own settings are in
[workers/README.md](../workers/README.md#settings).
"""


def page() -> str:
    """Return the whole page. Raises LookupError for a module of settings without a section."""
    without = set(modules_with_settings()) - {module for module, _, _ in SECTIONS} - _NO_FIELDS_OF_ITS_OWN
    if without:
        raise LookupError(f"settings/document.py has no section for: {', '.join(sorted(without))}")
    parts = [_HEAD]
    for module, title, introduction in SECTIONS:
        lines = [f"## {title}", ""]
        if introduction:
            lines += [introduction, ""]
        lines += ["| variable | default | range | meaning |", "|---|---|---|---|", *table_lines(module)]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def modules_with_settings() -> list[str]:
    """Return the modules that define settings."""
    return [module.name for module in pkgutil.iter_modules(settings.__path__) if _classes(module.name)]


def table_lines(module: str) -> list[str]:
    """Return a line for each setting that the classes of a module add to those they inherit."""
    return [
        _line(name, thing.model_fields[name])
        for thing in _classes(module)
        for name in thing.model_fields
        if name in thing.__annotations__
    ]


def _classes(module: str) -> list[type[Settings]]:
    found = vars(importlib.import_module(f"settings.{module}")).values()
    return [
        thing
        for thing in found
        if isinstance(thing, type)
        and issubclass(thing, Settings)
        and thing is not Settings
        and thing.__module__ == f"settings.{module}"
    ]


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


def main() -> int:
    """Write the page, or with ``--check`` only compare it. Return the exit status."""
    arguments = argparse.ArgumentParser(description="Write docs/settings.md from the code.")
    arguments.add_argument("--check", action="store_true", help="only check whether the page is up to date")
    if not arguments.parse_args().check:
        PAGE.write_text(page(), encoding="utf-8")
        return 0
    if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == page():
        return 0
    sys.stderr.write("docs/settings.md differs from settings/: run `make docs` and commit it\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
