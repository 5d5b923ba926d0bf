"""Checks the names in a query, so that a typo is never answered by good news.

An empty answer means "nothing failed" only if the namespace, the source or the category exists. So if an answer is empty,
the names in the query are looked up. An unknown one is an error that lists the known ones.
"""

import difflib
from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg

from schemas.errors import NotFoundError
from store.answers.reading import read, snapshot
from store.queries import queries

_QUERIES = queries("answers_names")
_SHOWN: Final = 10
_WITHOUT_NAME: Final = "(none)"


class _Name(NamedTuple):
    name: str


def require_namespace(connection: psycopg.Connection, namespace: str | None) -> None:
    """Raise NotFoundError if a namespace is given and has no job."""
    if namespace:
        require_known("namespace", namespace, _known(connection, "namespaces"))


def require_source(connection: psycopg.Connection, source: str | None, namespace: str | None) -> None:
    """Raise NotFoundError if a source is given and no attempt of it has ended."""
    if source is not None:
        require_known("source", source, _known(connection, "sources", namespace=namespace or None))


def require_category(connection: psycopg.Connection, category: str | None, namespace: str | None) -> None:
    """Raise NotFoundError if a category is given and no failure has it."""
    if category is not None:
        require_known(
            "error category", category, _known(connection, "categories", namespace=namespace or None)
        )


def require_topic(connection: psycopg.Connection, topic: str | None) -> None:
    """Raise NotFoundError if there are dead letters, but none of the given topic."""
    known = _known(connection, "dead_letter_topics") if topic is not None else []
    if topic is not None and known:
        require_known("topic with dead letters", topic, known)


def require_worker(worker: str | None, known: Sequence[str], run: str) -> None:
    """Raise NotFoundError if a worker is given and the run has no job of it."""
    if worker is not None:
        require_known(f"worker in the run #{run}", worker, known)


def _known(connection: psycopg.Connection, query: str, **parameters: str | None) -> list[str]:
    with snapshot(connection):
        return [row.name for row in read(connection, _Name, _QUERIES[query], **parameters)]


def require_known(what: str, name: str, known: Sequence[str]) -> None:
    """Raise NotFoundError, which lists the known names and the nearest one, unless this is one of them."""
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    if not known:
        raise NotFoundError(f"no such {what}: {name!r}; there is none yet.")
    listed = ", ".join(one or _WITHOUT_NAME for one in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    raise NotFoundError(f"no such {what}: {name!r}; there are: {listed}{more}.{meant}")
