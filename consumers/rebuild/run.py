"""A rebuild from its beginning, or from where the last process left it, to its end.

What has been done is in the database alone, each step in one transaction: the tables and the row that says they are there;
each batch with its position; the indexes; the swap; the report; the drop of the old tables. So whatever kills this process,
starting it again goes on with the next step.
"""

import time
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
import structlog
from psycopg.errors import LockNotAvailable

from broker.admin import Admin, admin
from broker.client import Client
from broker.client import connect as connect_broker
from broker.reading import Position, partitions
from broker.topic_log import last_positions, partition_logs
from consumers.process.barriers import reached
from consumers.process.log import configure_log
from consumers.process.stop import Stop, stop_on_signals
from consumers.rebuild.applying import APPLICATION, Applier
from consumers.rebuild.follow import follow
from consumers.rebuild.load import load
from consumers.rebuild.preflight import Preflight, preflight, shown
from consumers.rebuild.progress import Telling
from consumers.rebuild.source import Source
from consumers.rebuild.swap import Moment
from derive.fingerprint import VERSION
from schemas.errors import InputError, StoreError
from settings.rebuild import RebuildSettings
from store.connection import OLD_SCHEMA, REBUILD_SCHEMA
from store.connection import connect as connect_database
from store.failures import AWAY, one_line
from store.migrate import applied_version, check_version
from store.partitions import ensure_near_days
from store.rebuild.cover import bound, forgotten_words
from store.rebuild.parity import compare
from store.rebuild.privileges import copy_default_privileges, copy_privileges
from store.rebuild.state import (
    ABANDONED,
    DONE,
    FOLLOWING,
    LOADING,
    SWAPPED,
    Rebuild,
    accept_history_from,
    add_partitions,
    find_open,
    keep_report,
    note_start,
    own,
    read_positions,
    read_report,
    set_state,
)
from store.rebuild.tables import create, drop, make_indexes, schemas_there, settle
from store.steps import Step

log = structlog.get_logger(__name__)

_DROP_TRIES = 10
_STEADY_SECONDS = 5.0


@dataclass(frozen=True)
class Wish:
    """What the person asked for."""

    history_from: datetime | None = None
    restart: bool = False
    keep_old: bool = False
    accept_loss: bool = False


def check(settings: RebuildSettings, wish: Wish) -> Preflight:
    """What a rebuild would find now; changes nothing. Raises JobtrailError."""
    client = connect_broker(settings)
    try:
        with _control(settings) as connection:
            check_version(connection)
            open_one = find_open(connection)
            going_on = open_one is not None and not wish.restart
            return preflight(
                settings,
                client,
                connection,
                wish.history_from,
                is_open=going_on,
                accept_loss=wish.accept_loss,
            )
    finally:
        client.close()


def run(settings: RebuildSettings, wish: Wish) -> dict[str, Any] | None:
    """Rebuild; gives the report, or None when asked to stop before the end (it goes on when started again).

    Raises JobtrailError.
    """
    configure_log(settings, "rebuild")
    stop = stop_on_signals()
    telling = Telling()
    try:
        with _control(settings) as connection:
            check_version(connection)
            own(connection)
            return _run(settings, wish, connection, stop, telling)
    except AWAY as error:
        raise StoreError(
            f"the database went away: {one_line(error)}. What was committed is kept: `jobtrail rebuild` goes on from there."
        ) from error
    except psycopg.errors.InsufficientPrivilege as error:
        raise StoreError(
            f"the database does not allow it: {one_line(error)}. Run this as the owner of the schema jobtrail."
        ) from error
    finally:
        telling.close()


def abandon(settings: RebuildSettings) -> bool:
    """Give up the open rebuild and drop its tables; False when there is none. Raises JobtrailError."""
    with _control(settings) as connection:
        check_version(connection)
        own(connection)
        found = find_open(connection)
        if found is not None:
            _abandon(connection, found)
        return found is not None


def drop_old(settings: RebuildSettings) -> bool:
    """Drop the old tables that were kept; False when there are none. Raises JobtrailError."""
    with _control(settings) as connection:
        check_version(connection)
        own(connection)
        there = OLD_SCHEMA in schemas_there(connection)
        found = find_open(connection)
        if found is not None and found.state == SWAPPED:
            raise InputError(
                f"rebuild {found.id} has not compared its tables yet: run `jobtrail rebuild` first."
            )
        if there:
            with connection.transaction():
                drop(connection, OLD_SCHEMA)
        return there


def _run(
    settings: RebuildSettings, wish: Wish, connection: psycopg.Connection, stop: Stop, telling: Telling
) -> dict[str, Any] | None:
    found = find_open(connection)
    if found is not None and wish.restart:
        _abandon(connection, found)
        found = None
    if found is None or found.state != SWAPPED:
        client = connect_broker(settings)
        try:
            with admin(settings) as broker:
                found = _go_on(settings, wish, found, client, broker, connection, stop, telling)
        finally:
            client.close()
        if found is None:
            return None
    return _finish(connection, found, wish, telling)


def _go_on(
    settings: RebuildSettings,
    wish: Wish,
    found: Rebuild | None,
    client: Client,
    broker: Admin,
    connection: psycopg.Connection,
    stop: Stop,
    telling: Telling,
) -> Rebuild | None:
    """To the swap; None when asked to stop before."""
    if found is not None:
        _demand_same(connection, found, settings, wish)
    looked = preflight(
        settings,
        client,
        connection,
        wish.history_from or (found.history_from if found else None),
        is_open=found is not None,
        accept_loss=wish.accept_loss,
    )
    if looked.problems:
        raise StoreError(f"a rebuild cannot begin: {'; '.join(looked.problems)}.")
    rebuild = found or _start(settings, wish, connection)
    if wish.history_from is not None and rebuild.history_from != wish.history_from:
        accept_history_from(connection, rebuild.id, wish.history_from)
    telling.phase(
        "rebuild",
        id=rebuild.id,
        state=rebuild.state,
        then="goes on"
        if found
        else "reads the topic from " + shown(looked.history_from or looked.log.published_from),
        entries=looked.log.entries,
    )
    numbers = partitions(client, settings)
    add_partitions(connection, rebuild.id, numbers)
    tell = _Progress(connection, broker, settings, rebuild, telling)
    if rebuild.state == LOADING:
        if not _load(settings, rebuild, connection, broker, stop, telling, tell):
            return None
        reached(Step.LOADED)
        telling.phase("indexing", rebuild=rebuild.id)
        with connection.transaction():
            make_indexes(connection, rebuild.deferred_indexes)
            set_state(connection, rebuild.id, FOLLOWING)
        reached(Step.INDEXED)
    telling.phase("following", rebuild=rebuild.id)
    settle(connection)
    return _follow(settings, wish, rebuild, client, broker, connection, stop, tell)


def _load(
    settings: RebuildSettings,
    rebuild: Rebuild,
    connection: psycopg.Connection,
    broker: Admin,
    stop: Stop,
    telling: Telling,
    tell: "_Progress",
) -> bool:
    positions = read_positions(connection, rebuild.id)
    ends = last_positions(broker, settings, list(positions))
    telling.phase("loading", rebuild=rebuild.id, partitions=len(positions))
    load(
        settings,
        rebuild,
        {partition: progress.place for partition, progress in positions.items()},
        ends,
        stop,
        tell,
    )
    return not stop.requested


def _follow(
    settings: RebuildSettings,
    wish: Wish,
    rebuild: Rebuild,
    client: Client,
    broker: Admin,
    connection: psycopg.Connection,
    stop: Stop,
    tell: "_Progress",
) -> Rebuild | None:
    history_from = wish.history_from or rebuild.history_from
    places = {number: progress.place for number, progress in read_positions(connection, rebuild.id).items()}
    source = Source(client, settings, places, history_from)
    applier = Applier(settings, client, rebuild.id, stop)
    moment = Moment(
        settings,
        client,
        broker,
        rebuild,
        lambda: bound(connection, history_from),
        accept_loss=wish.accept_loss,
    )
    try:
        done = applier.open() and follow(
            settings,
            client,
            broker,
            source,
            applier,
            moment,
            lambda partition: add_partitions(connection, rebuild.id, [partition]),
            stop,
            tell,
        )
    finally:
        applier.close()
        moment.close()
    if not done:
        return None
    log.info("swapped", rebuild=rebuild.id, writers_waited_at_most_seconds=round(moment.held_seconds, 3))
    return rebuild._replace(state=SWAPPED, history_from=history_from)


def _start(settings: RebuildSettings, wish: Wish, connection: psycopg.Connection) -> Rebuild:
    """The empty tables, and the row that says so: both or neither."""
    reached(Step.BEFORE_START)
    with connection.transaction():
        deferred = create(connection, VERSION)
        copy_default_privileges(connection)
        copy_privileges(connection)
        note_start(
            connection,
            topic=settings.topic,
            migration=applied_version(connection),
            fingerprint_version=VERSION,
            history_from=wish.history_from,
            deferred_indexes=deferred,
        )
    reached(Step.STARTED)
    ensure_near_days(connection)
    started = find_open(connection)
    assert started is not None
    return started


def _abandon(connection: psycopg.Connection, found: Rebuild) -> None:
    if found.state == SWAPPED:
        raise InputError(
            f"rebuild {found.id} has swapped its tables with the old ones already: run `jobtrail rebuild`, which compares "
            "them and ends it."
        )
    with connection.transaction():
        drop(connection, REBUILD_SCHEMA)
        set_state(connection, found.id, ABANDONED)


def _demand_same(
    connection: psycopg.Connection, found: Rebuild, settings: RebuildSettings, wish: Wish
) -> None:
    """What was begun can be gone on with only by the same rules on the same topic."""
    what = next(
        (
            f"{name} {was!r}, now it is {now!r}"
            for name, was, now in (
                ("the topic", found.topic, settings.topic),
                ("migration", found.migration, applied_version(connection)),
                ("fingerprint version", found.fingerprint_version, VERSION),
            )
            if was != now
        ),
        None,
    )
    if what is not None:
        raise StoreError(
            f"rebuild {found.id} was begun with {what}: start anew with `jobtrail rebuild --restart`, or give it up with "
            "`--abandon`."
        )
    if wish.history_from and found.history_from and wish.history_from < found.history_from:
        raise InputError(
            f"rebuild {found.id} reads from {shown(found.history_from)} on: to read from {shown(wish.history_from)} on, "
            "start anew with `--restart`."
        )


def _finish(connection: psycopg.Connection, rebuild: Rebuild, wish: Wish, telling: Telling) -> dict[str, Any]:
    """Compare with the old tables, keep the report, and drop them if nothing is unexplained."""
    report = read_report(connection, rebuild.id)
    if report is None:
        telling.phase("comparing", rebuild=rebuild.id)
        parity = compare(connection, bound(connection, rebuild.history_from), forgotten_words(connection))
        progress = read_positions(connection, rebuild.id).values()
        report = {
            "rebuild": rebuild.id,
            "topic": rebuild.topic,
            "history_from": shown(rebuild.history_from) if rebuild.history_from else None,
            "events": sum(one.events for one in progress),
            "expired": sum(one.expired for one in progress),
            "dead_letters": sum(one.dead_letters for one in progress),
            **parity.as_json(),
        }
        keep_report(connection, rebuild.id, report)
    reached(Step.COMPARED)
    keep = wish.keep_old or report["unexplained"] > 0
    if not keep:
        telling.phase("dropping the old tables", rebuild=rebuild.id)
    for left in reversed(range(_DROP_TRIES)):
        try:
            with connection.transaction():
                if not keep:
                    connection.execute("SET LOCAL lock_timeout = '5s'")
                    drop(connection, OLD_SCHEMA)
                set_state(connection, rebuild.id, DONE)
            break
        except LockNotAvailable as error:
            if not left:
                raise StoreError(
                    f"the new tables are live; the old ones (schema {OLD_SCHEMA}) cannot be dropped while somebody reads "
                    "them. Run `jobtrail rebuild` again, or with --keep-old."
                ) from error
    reached(Step.DONE)
    return {**report, "old_tables_kept": keep}


def _control(settings: RebuildSettings) -> psycopg.Connection:
    return connect_database(settings, APPLICATION, autocommit=True, schema=REBUILD_SCHEMA)


class _Progress:
    """Asks how far it is when that is to be said."""

    def __init__(
        self,
        connection: psycopg.Connection,
        broker: Admin,
        settings: RebuildSettings,
        rebuild: Rebuild,
        telling: Telling,
    ) -> None:
        self._connection = connection
        self._broker = broker
        self._settings = settings
        self._rebuild = rebuild
        self._telling = telling
        self._logs_at = -_STEADY_SECONDS
        self._logs = partition_logs(broker, settings, [])

    def __call__(self) -> None:
        """Called often; says something rarely."""
        if not self._telling.is_due():
            return
        positions = read_positions(self._connection, self._rebuild.id)
        if time.monotonic() - self._logs_at >= _STEADY_SECONDS:
            self._logs = partition_logs(self._broker, self._settings, list(positions))
            self._logs_at = time.monotonic()
        self._telling.progress(
            events=sum(one.events for one in positions.values()),
            entries=sum(
                self._logs[number].entries_up_to(Position(*one.place))
                for number, one in positions.items()
                if number in self._logs
            ),
            all_entries=sum(log.entries for log in self._logs.values()),
        )
