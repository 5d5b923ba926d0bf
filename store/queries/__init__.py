"""Named queries: ``-- name: word`` and the SQL below it, one file per subject, with parameters as ``%(name)s``.

All SQL is in the files of this folder; it is never built from strings.
"""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from schemas.errors import StoreError

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(subject: str) -> dict[str, LiteralString]:
    """Return the queries of ``<subject>.sql`` by name, in the order of the file.

    Raises StoreError when two have the same name.
    """
    text = files("store.queries").joinpath(f"{subject}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise StoreError(f"store/queries/{subject}.sql names a query twice: {sorted(names)}")
    # A file of this package is as trusted as a literal in the code: it never contains values from outside.
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def subjects() -> list[str]:
    """Return the names of all files of queries, for the test that prepares every query."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in files("store.queries").iterdir()
        if entry.name.endswith(".sql")
    )
