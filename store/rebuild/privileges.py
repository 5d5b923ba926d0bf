"""Gives the rebuilt tables the owners and privileges of the live ones.

Without this, a reading role such as Grafana's would lose its grants when its tables are replaced.
"""

from typing import LiteralString

import psycopg

from store.connection import REBUILD_SCHEMA, SCHEMA
from store.queries import queries

_PRIVILEGES = queries("privileges")
_SCHEMAS = {"model": SCHEMA, "target": REBUILD_SCHEMA}


def copy_default_privileges(connection: psycopg.Connection) -> None:
    """Copy the default privileges, for tables created from now on, in the caller's transaction."""
    _run_statements_of(connection, _PRIVILEGES["default_privileges"])


def copy_privileges(connection: psycopg.Connection) -> int:
    """Copy owners and privileges to everything of the same name, in the caller's transaction; return how many differed.

    Raises psycopg.errors.InsufficientPrivilege when this user may not give them.
    """
    return _run_statements_of(connection, _PRIVILEGES["owners"]) + _run_statements_of(
        connection, _PRIVILEGES["privileges"]
    )


def _run_statements_of(connection: psycopg.Connection, query: LiteralString) -> int:
    statements = connection.execute(query, _SCHEMAS).fetchall()
    for (statement,) in statements:
        # Postgres made these statements from names in its catalog, and quoted them.
        connection.execute(statement)
    return len(statements)
