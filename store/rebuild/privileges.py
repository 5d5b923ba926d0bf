"""Who owns the live tables and who may read them: the same for the rebuilt ones.

A role that only reads (Grafana's) was granted that by a person, on tables that are about to be replaced.
"""

from typing import LiteralString

import psycopg

from store.connection import REBUILD_SCHEMA, SCHEMA
from store.queries import queries

_PRIVILEGES = queries("privileges")
_SCHEMAS = {"model": SCHEMA, "target": REBUILD_SCHEMA}


def copy_default_privileges(connection: psycopg.Connection) -> None:
    """What tables made from now on are to grant, in the caller's transaction."""
    _run_statements_of(connection, _PRIVILEGES["default_privileges"])


def copy_privileges(connection: psycopg.Connection) -> int:
    """Owners and privileges of everything that has the same name, in the caller's transaction; gives how many differed.

    Raises psycopg.errors.InsufficientPrivilege when this user may not give them.
    """
    return _run_statements_of(connection, _PRIVILEGES["owners"]) + _run_statements_of(
        connection, _PRIVILEGES["privileges"]
    )


def _run_statements_of(connection: psycopg.Connection, query: LiteralString) -> int:
    statements = connection.execute(query, _SCHEMAS).fetchall()
    for (statement,) in statements:
        # Made by Postgres of names in its own catalog, quoted by it.
        connection.execute(statement)
    return len(statements)
