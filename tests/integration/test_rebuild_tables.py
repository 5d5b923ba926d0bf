"""The tables of a rebuild on a real Postgres: equal to the migrated ones, and swapped in with the same privileges."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from derive.fingerprint import VERSION
from derive.fold import fold
from schemas.errors import StoreError
from settings.database import DatabaseSettings
from store.connection import REBUILD_SCHEMA, SCHEMA, connect
from store.partitions import ensure_near_days
from store.rebuild.parity import TableParity, compare
from store.rebuild.privileges import copy_default_privileges, copy_privileges
from store.rebuild.state import (
    PartitionStep,
    add_partitions,
    advance,
    find_open,
    read_positions,
    record_start,
)
from store.rebuild.tables import create, make_indexes, swap
from store.writing.writer import FingerprintMovedError, prepare_session, write_batch
from testing.events import NOW, NOW_US, events
from testing.topics import EVENT

# Everything that the catalogs know of a schema, without the schema's name.
CATALOG = {
    "columns": """
        SELECT relname, relkind, relpersistence, reloptions, relispartition, attname, attnotnull, atttypid::regtype::text,
            collname, pg_get_expr(adbin, adrelid), attstorage, pg_get_expr(relpartbound, pg_class.oid)
        FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 AND NOT attisdropped
        LEFT JOIN pg_collation ON pg_collation.oid = attcollation
        LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
        WHERE relnamespace = %(schema)s::regnamespace
        ORDER BY relname, attnum
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, contype, convalidated, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = %(schema)s::regnamespace
        ORDER BY 1, 2
    """,
    "indexes": """
        SELECT index.relname, pg_get_indexdef(index.oid), index.reloptions, indisvalid, indisunique
        FROM pg_index
        JOIN pg_class AS index ON index.oid = indexrelid
        WHERE index.relnamespace = %(schema)s::regnamespace
        ORDER BY 1
    """,
    "functions": """
        SELECT proname, pg_get_function_identity_arguments(oid), pg_get_functiondef(oid)
        FROM pg_proc
        WHERE pronamespace = %(schema)s::regnamespace
        ORDER BY 1, 2
    """,
}


def session(url: str, schema: str = SCHEMA) -> psycopg.Connection[Any]:
    return connect(DatabaseSettings.load(database_url=url), "jobtrail rebuild", schema=schema)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a session of a rebuild."""
    with session(database_url, REBUILD_SCHEMA) as rebuilding:
        yield rebuilding


@pytest.fixture
def connection_each(database_url_each: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a session of a rebuild on the oldest and on the newest Postgres."""
    with session(database_url_each, REBUILD_SCHEMA) as rebuilding:
        yield rebuilding


def start(connection: psycopg.Connection[Any], version: int = VERSION) -> list[str]:
    with connection.transaction():
        deferred = create(connection, version)
        record_start(
            connection,
            topic="t",
            migration=3,
            fingerprint_version=version,
            history_from=None,
            deferred_indexes=deferred,
        )
    ensure_near_days(connection)
    return deferred


def catalog(connection: psycopg.Connection[Any], schema: str) -> dict[str, list[tuple[Any, ...]]]:
    connection.execute("SELECT set_config('search_path', '', false)")
    found = {
        name: connection.execute(query, {"schema": schema}).fetchall() for name, query in CATALOG.items()
    }
    connection.execute("SELECT set_config('search_path', %s, false)", [REBUILD_SCHEMA])
    return {
        name: [
            tuple(cell.replace(f"{schema}.", "") if isinstance(cell, str) else cell for cell in row)
            for row in rows
        ]
        for name, rows in found.items()
    }


def test_the_rebuilt_tables_equal_the_migrated_ones(connection_each: psycopg.Connection[Any]) -> None:
    """Columns, constraints, indexes, functions and partitions are equal, even their names and storage parameters."""
    deferred = start(connection_each)
    assert deferred, "no index was deferred, so this test shows nothing"
    assert catalog(connection_each, REBUILD_SCHEMA) != catalog(connection_each, SCHEMA)
    make_indexes(connection_each, deferred)
    rebuilt, migrated = catalog(connection_each, REBUILD_SCHEMA), catalog(connection_each, SCHEMA)
    for what, rows in migrated.items():
        assert rebuilt[what] == rows
        assert rows


def test_privileges_are_copied_to_the_new_tables(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    """Those on tables, columns, the schema and functions, and the default privileges on coming partitions."""
    role = f"reader_{connection.info.dbname}"
    connection.execute(f"CREATE ROLE {role}")
    connection.commit()
    try:
        with session(database_url) as live:
            live.execute(f"GRANT USAGE ON SCHEMA jobtrail TO {role}")
            live.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA jobtrail TO {role}")
            live.execute(f"REVOKE SELECT ON dead_letters FROM {role}")
            live.execute(f"GRANT SELECT (topic, reason) ON dead_letters TO {role} WITH GRANT OPTION")
            live.execute("REVOKE EXECUTE ON FUNCTION micros_to_time FROM PUBLIC")
            live.execute(f"ALTER DEFAULT PRIVILEGES IN SCHEMA jobtrail GRANT SELECT ON TABLES TO {role}")
        with connection.transaction():
            create(connection, VERSION)
            copy_default_privileges(connection)
        ensure_near_days(connection)
        with connection.transaction():
            assert copy_privileges(connection) > 0
            assert copy_privileges(connection) == 0, "the second copy changes nothing"
            before = privileges(connection, SCHEMA)
            swap(connection)
            assert privileges(connection, SCHEMA) == before
        assert any(role in acl for acl in before.values())
    finally:
        connection.rollback()
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")
        connection.commit()


def privileges(connection: psycopg.Connection[Any], schema: str) -> dict[str, str]:
    """Map each object and column to its privileges, sorted."""
    rows = connection.execute(
        """
        SELECT name, coalesce(string_agg(acl::text, ' ' ORDER BY acl::text), '')
        FROM (
            SELECT relname::text, unnest(coalesce(relacl, acldefault('r', relowner))) FROM pg_class WHERE relnamespace = %(schema)s::text::regnamespace AND relkind IN ('r', 'p')
            UNION ALL
            SELECT relname || '.' || attname, unnest(attacl)
            FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
            WHERE relnamespace = %(schema)s::text::regnamespace
            UNION ALL
            SELECT 'function ' || proname, unnest(coalesce(proacl, acldefault('f', proowner))) FROM pg_proc WHERE pronamespace = %(schema)s::text::regnamespace
            UNION ALL
            SELECT 'schema', unnest(coalesce(nspacl, acldefault('n', nspowner))) FROM pg_namespace WHERE nspname = %(schema)s::text
            UNION ALL
            SELECT 'default ' || defaclobjtype::text, unnest(defaclacl)
            FROM pg_default_acl WHERE defaclnamespace = %(schema)s::text::regnamespace
        ) AS granted (name, acl)
        GROUP BY name
        """,
        {"schema": schema},
    ).fetchall()
    return dict(rows)


def test_a_running_writer_goes_on_with_the_new_tables(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    """Its prepared statements, stage tables and the functions over rows of `jobs` work in the next transaction."""
    with session(database_url) as writer:
        prepare_session(writer)
        for job in ("1", "2", "1"):  # the third is an update, which uses the functions over rows
            write_batch(writer, fold(events(job)))
        start(connection)
        with connection.transaction():
            swap(connection)
        for job in ("3", "4", "3"):
            write_batch(writer, fold(events(job)))
        old = writer.execute("SELECT array_agg(job_id ORDER BY job_id) FROM jobtrail_old.jobs").fetchone()
        new = writer.execute("SELECT array_agg(job_id ORDER BY job_id) FROM jobtrail.jobs").fetchone()
    assert (old, new) == ((["1", "2"],), (["3", "4"],))


def test_a_writer_of_another_fingerprint_version_stops_after_the_swap(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    """It checked the version when it started; a rebuild by a newer release came later. Groups would be mixed."""
    with session(database_url) as writer:
        prepare_session(writer)
        write_batch(writer, fold(events("1")))
        start(connection, VERSION + 1)
        with connection.transaction():
            swap(connection)
        with pytest.raises(FingerprintMovedError, match=f"version {VERSION + 1} of the fingerprint"):
            write_batch(writer, fold(events("2")))
        assert writer.execute("SELECT count(*) FROM jobtrail.jobs").fetchone() == (0,)


def test_a_position_is_stored_only_after_the_previous_one(connection: psycopg.Connection[Any]) -> None:
    """The same process may store it twice (the answer to a commit was lost); another process is refused."""
    start(connection)
    found = find_open(connection)
    assert found is not None
    add_partitions(connection, found.id, [0, 1])
    step = PartitionStep(0, (-1, -1, -1), (5, 7, 3), 40)
    for _ in range(2):
        advance(connection, found.id, [step], expired=2, dead_letters=1)
    assert read_positions(connection, found.id)[0] == ((5, 7, 3), 40, 2, 1)
    with pytest.raises(StoreError, match="another process continues it"):
        advance(
            connection, found.id, [PartitionStep(0, (-1, -1, -1), (5, 9, 0), 50)], expired=0, dead_letters=0
        )


def test_the_report_separates_explained_differences_from_others(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    """The new tables may have more; a row that only the old ones have is shown by its key, unless it is from a skipped time."""
    day_us = 24 * 3600 * 1_000_000
    both, more, lost, aged = (
        events("both"),
        events("more", state="executing"),
        events("lost"),
        events("aged", occurred_at=NOW_US - 3 * day_us),
    )
    finished = events("more", occurred_at=NOW_US + 1)
    with session(database_url) as live:
        prepare_session(live)
        write_batch(live, fold(both + more + lost + aged))
    start(connection)
    prepare_session(connection)
    write_batch(connection, fold(both + more + finished + events("new", state="completed")))
    with connection.transaction():
        swap(connection)
    parity = compare(connection, NOW - timedelta(days=1), triage_without_group=0)
    found = {table.table: table for table in parity.tables}
    assert found["jobs"] == TableParity(
        "jobs",
        equal=1,
        more=1,
        only_new=1,
        given_up=1,
        only_old=1,
        different=0,
        examples=[{"namespace": EVENT["namespace"], "job_id": "lost"}],
    )
    assert [(key["job_id"]) for key in found["attempts"].examples] == ["lost"]
    assert (found["attempts"].equal, found["attempts"].only_new, found["attempts"].given_up) == (1, 2, 1)
    assert parity.unexplained > 0


@pytest.mark.parametrize(
    ("column", "stored", "explained"),
    [
        ("started_at", "0001-01-01 00:00Z", True),
        ("enqueued_at", "1970-01-21 00:00Z", True),
        ("scheduled_at", "9999-12-31 23:59Z", True),
        ("started_at", str(NOW - timedelta(hours=1)), False),
    ],
)
def test_a_missing_time_is_explained_only_if_it_was_impossible(
    connection: psycopg.Connection[Any], database_url: str, column: str, stored: str, explained: bool
) -> None:
    """A rebuild leaves out impossible times that an earlier release stored. Any other missing time is a difference."""
    with session(database_url) as live:
        prepare_session(live)
        write_batch(live, fold(events("1")))
        live.execute(sql.SQL("UPDATE attempts SET {} = %s").format(sql.Identifier(column)), [stored])
        live.commit()
    start(connection)
    prepare_session(connection)
    write_batch(connection, fold(events("1")))
    with connection.transaction():
        swap(connection)
    parity = compare(connection, None, triage_without_group=0)
    (attempts,) = (table for table in parity.tables if table.table == "attempts")
    assert (attempts.more, attempts.different) == ((1, 0) if explained else (0, 1))


def test_a_job_that_retention_kept_must_not_be_missing(
    connection: psycopg.Connection[Any], database_url: str
) -> None:
    """The horizon explains that an expired run is missing as a whole, but not an open job or a part of a run."""
    old = NOW_US - 9 * 24 * 3600 * 1_000_000
    gone, half = {"root_job_id": "gone", "depth": 1}, {"root_job_id": "half", "depth": 1}
    kept = events("half-1", occurred_at=old, **half)
    with session(database_url) as live:
        prepare_session(live)
        write_batch(
            live,
            fold(
                [
                    *events("gone-1", "gone-2", occurred_at=old, **gone),
                    *events("half-2", occurred_at=old, **half),
                    *events("open", occurred_at=old, state="executing"),
                    *kept,
                ]
            ),
        )
    start(connection)
    prepare_session(connection)
    write_batch(connection, fold(kept))
    with connection.transaction():
        swap(connection)
    parity = compare(connection, NOW - timedelta(days=1), triage_without_group=0)
    (jobs,) = (table for table in parity.tables if table.table == "jobs")
    assert (jobs.equal, jobs.given_up, jobs.only_old) == (1, 2, 2)
    assert {key["job_id"] for key in jobs.examples} == {"open", "half-2"}
    # Times that the topic was not read for are skipped on purpose.
    parity = compare(connection, NOW, triage_without_group=0, history_from=NOW)
    (jobs,) = (table for table in parity.tables if table.table == "jobs")
    assert (jobs.given_up, jobs.only_old) == (4, 0)
