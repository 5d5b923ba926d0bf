"""Names that a question is about: a name that nothing knows is never answered by good news.

An empty answer means "nothing failed" only if the namespace, the source or the category exists. So where an answer is
empty, the names it was asked for are looked up, and an unknown one is an error that lists the known ones.
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


def demand_namespace(connection: psycopg.Connection, namespace: str | None) -> None:
    """Raise NotFoundError unless a job is in the namespace, or none was asked for."""
    if namespace:
        demand_known("namespace", namespace, _known(connection, "namespaces"))


def demand_source(connection: psycopg.Connection, source: str | None, namespace: str | None) -> None:
    """Raise NotFoundError unless an attempt of the source has ended, or none was asked for."""
    if source is not None:
        demand_known("source", source, _known(connection, "sources", namespace=namespace or None))


def demand_category(connection: psycopg.Connection, category: str | None, namespace: str | None) -> None:
    """Raise NotFoundError unless a failure has the category, or none was asked for."""
    if category is not None:
        demand_known(
            "error category", category, _known(connection, "categories", namespace=namespace or None)
        )


def demand_topic(connection: psycopg.Connection, topic: str | None) -> None:
    """Raise NotFoundError when there are dead letters, and none of the topic."""
    known = _known(connection, "dead_letter_topics") if topic is not None else []
    if topic is not None and known:
        demand_known("topic with dead letters", topic, known)


def demand_worker(worker: str | None, known: Sequence[str], run: str) -> None:
    """Raise NotFoundError unless the run has jobs of the worker, or none was asked for."""
    if worker is not None:
        demand_known(f"worker in the run #{run}", worker, known)


def _known(connection: psycopg.Connection, query: str, **parameters: str | None) -> list[str]:
    with snapshot(connection):
        return [row.name for row in read(connection, _Name, _QUERIES[query], **parameters)]


def demand_known(what: str, name: str, known: Sequence[str]) -> None:
    """Raise NotFoundError, which lists the known names and the nearest one, unless this is one of them."""
    if name in known:
        return
    near = difflib.get_close_matches(name, known, 1, cutoff=0.5)
    meant = f" Did you mean {near[0]!r}?" if near else ""
    if not known:
        raise NotFoundError(f"no such {what}: {name!r}; there is none yet.")
    shown = ", ".join(one or _WITHOUT_NAME for one in known[:_SHOWN])
    more = f" and {len(known) - _SHOWN} more" if len(known) > _SHOWN else ""
    raise NotFoundError(f"no such {what}: {name!r}; there are: {shown}{more}.{meant}")
