"""Named queries: ``-- name: word`` and the SQL below it, one file a subject, parameters as ``%(name)s``.

The SQL lives in the files of this folder and nowhere else; it is never put together from strings.
"""

import re
from functools import cache
from importlib.resources import files
from typing import LiteralString

from schemas.errors import StoreError

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


@cache
def queries(subject: str) -> dict[str, LiteralString]:
    """The queries of ``<subject>.sql`` by name, in the order of the file.

    Raises StoreError when a name stands twice.
    """
    text = files("store.queries").joinpath(f"{subject}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    names, bodies = parts[::2], parts[1::2]
    if len(set(names)) != len(names):
        raise StoreError(f"store/queries/{subject}.sql names a query twice: {sorted(names)}")
    # A file of ours is as trusted as a literal in the code: no value from outside is ever in it.
    return {name: body.strip() for name, body in zip(names, bodies, strict=True)}


def subjects() -> list[str]:
    """Names of all files of queries, for the test that prepares every one."""
    return sorted(
        entry.name.removesuffix(".sql")
        for entry in files("store.queries").iterdir()
        if entry.name.endswith(".sql")
    )
