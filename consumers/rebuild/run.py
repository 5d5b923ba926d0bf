"""The commands of a rebuild: check, run, abandon, drop the old tables. The phases of a run are in `phases`.

All state is in the database, each step in one transaction: the tables and the rebuild's row; each batch with its position;
the indexes; the swap; the report; the drop of the old tables. So whatever kills this process, starting it again resumes with
the next step.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from consumers.process.log import configure_log
from consumers.process.stop import stop_on_signals
from consumers.rebuild.applying import APPLICATION
from consumers.rebuild.context import Context, RebuildOptions, broker_of
from consumers.rebuild.phases import abandon_open, finish, read_and_swap
from consumers.rebuild.preflight import Preflight, preflight
from consumers.rebuild.progress import ProgressReporter
from schemas.errors import InputError, StoreError
from settings.rebuild import RebuildSettings
from store.connection import OLD_SCHEMA, REBUILD_SCHEMA, connect
from store.failures import AWAY, one_line
from store.migrate import check_version
from store.rebuild.state import State, acquire_rebuild_lock, find_open
from store.rebuild.tables import drop, existing_schemas


def check(settings: RebuildSettings, options: RebuildOptions) -> Preflight:
    """Return what a rebuild would find now, and change nothing. Raises JobtrailError."""
    with broker_of(settings) as broker, _control_session(settings) as control:
        check_version(control)
        is_open = find_open(control) is not None and not options.restart
        return preflight(settings, broker, control, options, is_open=is_open)


def run(settings: RebuildSettings, options: RebuildOptions) -> dict[str, Any] | None:
    """Rebuild. Return the report; None if asked to stop before the end (the next run resumes it).

    Raises JobtrailError.
    """
    configure_log(settings, "rebuild")
    reporter = ProgressReporter()
    try:
        with _exclusive_session(settings) as control:
            return _run(Context(settings, options, control, stop_on_signals(), reporter))
    except AWAY as error:
        raise StoreError(
            f"the database went away: {one_line(error)}. What was committed is kept: `jobtrail rebuild` resumes from there."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(
            f"the database does not allow it: {one_line(error)}. Run this as the owner of the schema jobtrail."
        ) from error
    finally:
        reporter.close()


def abandon(settings: RebuildSettings) -> bool:
    """Abandon the open rebuild and drop its tables. Return False if there is none. Raises JobtrailError."""
    with _exclusive_session(settings) as control:
        found = find_open(control)
        if found is not None:
            abandon_open(control, found)
        return found is not None


def drop_old(settings: RebuildSettings) -> bool:
    """Drop the old tables that were kept. Return False if there are none. Raises JobtrailError."""
    with _exclusive_session(settings) as control:
        there = OLD_SCHEMA in existing_schemas(control)
        found = find_open(control)
        if found is not None and found.state is State.SWAPPED:
            raise InputError(
                f"rebuild {found.id} has not compared its tables yet: run `jobtrail rebuild` first."
            )
        if there:
            with control.transaction():
                drop(control, OLD_SCHEMA)
        return there


def _run(context: Context) -> dict[str, Any] | None:
    found = find_open(context.control)
    if found is not None and context.options.restart:
        abandon_open(context.control, found)
        found = None
    if found is None or found.state is not State.SWAPPED:
        with broker_of(context.settings) as broker:
            found = read_and_swap(context, broker, found)
        if found is None:
            return None
    return finish(context, found)


@contextmanager
def _control_session(settings: RebuildSettings) -> Iterator[psycopg.Connection]:
    with connect(settings, APPLICATION, autocommit=True, schema=REBUILD_SCHEMA) as control:
        yield control


@contextmanager
def _exclusive_session(settings: RebuildSettings) -> Iterator[psycopg.Connection]:
    """Open a session with the rebuild lock. Raises StoreError when another rebuild of this database is running."""
    with _control_session(settings) as control:
        check_version(control)
        acquire_rebuild_lock(control)
        yield control
