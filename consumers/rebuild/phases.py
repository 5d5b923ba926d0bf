"""The phases of a rebuild, from an empty schema or from where the last process ended: load, index, follow, swap, finish."""

from typing import Any

import psycopg
import structlog
from psycopg.errors import LockNotAvailable

from broker.reading import partitions
from broker.topic_log import last_positions
from consumers.process.barriers import reached
from consumers.rebuild.applying import Applier
from consumers.rebuild.context import Broker, Context
from consumers.rebuild.follow import follow
from consumers.rebuild.load import load
from consumers.rebuild.meter import ProgressMeter
from consumers.rebuild.preflight import format_time, preflight
from consumers.rebuild.source import Source
from consumers.rebuild.swap import Swapper
from derive.fingerprint import VERSION
from schemas.errors import InputError, StoreError
from store.connection import OLD_SCHEMA, REBUILD_SCHEMA
from store.migrate import applied_version
from store.partitions import ensure_near_days
from store.rebuild.cover import count_triage_without_group, read_bound
from store.rebuild.parity import compare
from store.rebuild.privileges import copy_default_privileges, copy_privileges
from store.rebuild.state import (
    Rebuild,
    State,
    accept_history_from,
    add_partitions,
    find_open,
    keep_report,
    read_positions,
    read_report,
    record_start,
    set_state,
)
from store.rebuild.tables import create, drop, existing_schemas, make_indexes, vacuum_and_analyze
from store.retention.run import remove_expired_runs
from store.retention.session import Pace, RetentionStoppedError
from store.steps import Step

log = structlog.get_logger(__name__)

_DROP_TRIES = 10


def read_and_swap(context: Context, broker: Broker, found: Rebuild | None) -> Rebuild | None:
    """Run a rebuild up to its swap. Return None if asked to stop before. ``found``: the open rebuild; None: begin one.

    Raises StoreError with all reasons if it must not begin or resume.
    """
    rebuild = _begin_or_resume(context, broker, found)
    meter = ProgressMeter(context.control, broker.admin, context.settings, rebuild, context.reporter)
    if rebuild.state is State.LOADING:
        if not _load(context, broker, rebuild, meter):
            return None
        reached(Step.LOADED)
        context.reporter.phase("indexing", rebuild=rebuild.id)
        with context.control.transaction():
            make_indexes(context.control, rebuild.deferred_indexes)
            set_state(context.control, rebuild.id, State.FOLLOWING)
        reached(Step.INDEXED)
    # The log was read from its beginning, so these tables have runs that retention deleted long ago from the live ones.
    context.reporter.phase("deleting expired runs", rebuild=rebuild.id)
    try:
        remove_expired_runs(context.control, Pace(wait=context.stop.wait))
    except RetentionStoppedError:
        return None
    context.reporter.phase("following", rebuild=rebuild.id)
    vacuum_and_analyze(context.control)
    return _follow(context, broker, rebuild, meter)


def finish(context: Context, rebuild: Rebuild) -> dict[str, Any]:
    """Compare with the old tables, store the report, and drop them if nothing is unexplained. Return the report."""
    control = context.control
    report = read_report(control, rebuild.id)
    if report is None:
        context.reporter.phase("comparing", rebuild=rebuild.id)
        parity = compare(
            control,
            read_bound(control, rebuild.history_from),
            count_triage_without_group(control),
            rebuild.history_from,
        )
        progress = read_positions(control, rebuild.id).values()
        report = {
            "rebuild": rebuild.id,
            "topic": rebuild.topic,
            "history_from": format_time(rebuild.history_from) if rebuild.history_from else None,
            "events": sum(one.events for one in progress),
            "expired": sum(one.expired for one in progress),
            "dead_letters": sum(one.dead_letters for one in progress),
            **parity.as_json(),
        }
        keep_report(control, rebuild.id, report)
    reached(Step.COMPARED)
    keep = context.options.keep_old or report["unexplained"] > 0
    if not keep:
        context.reporter.phase("dropping the old tables", rebuild=rebuild.id)
    for left in reversed(range(_DROP_TRIES)):
        try:
            with control.transaction():
                if not keep:
                    _drop_old(control)
                set_state(control, rebuild.id, State.DONE)
            break
        except LockNotAvailable as error:
            if not left:
                raise StoreError(
                    f"the new tables are live; the old ones (schema {OLD_SCHEMA}) cannot be dropped while a session reads "
                    "them. Run `jobtrail rebuild` again, or with --keep-old."
                ) from error
    reached(Step.DONE)
    return {**report, "old_tables_kept": keep}


def abandon_open(control: psycopg.Connection, found: Rebuild) -> None:
    """Drop an open rebuild's tables. Raises InputError when it has swapped them with the live ones already."""
    if found.state is State.SWAPPED:
        raise InputError(
            f"rebuild {found.id} has swapped its tables with the old ones already: run `jobtrail rebuild`, which compares "
            "them and finishes it."
        )
    with control.transaction():
        drop(control, REBUILD_SCHEMA)
        set_state(control, found.id, State.ABANDONED)


def _begin_or_resume(context: Context, broker: Broker, found: Rebuild | None) -> Rebuild:
    control, settings, options = context.control, context.settings, context.options
    if found is not None:
        _require_same(context, found)
    looked = preflight(
        settings,
        broker,
        control,
        options,
        is_open=found is not None,
        open_from=found.history_from if found else None,
    )
    if looked.problems:
        raise StoreError(f"a rebuild cannot begin: {'; '.join(looked.problems)}.")
    rebuild = found or _start(context)
    if options.history_from is not None and rebuild.history_from != options.history_from:
        accept_history_from(control, rebuild.id, options.history_from)
    begins = format_time(looked.history_from or looked.log.published_from)
    context.reporter.phase(
        "rebuild",
        id=rebuild.id,
        state=rebuild.state.value,
        then="resumes" if found else f"reads the topic from {begins}",
        entries=looked.log.entries,
    )
    add_partitions(control, rebuild.id, partitions(broker.client, settings))
    return rebuild


def _start(context: Context) -> Rebuild:
    """Create the empty tables, and the row of the rebuild, in one transaction."""
    control, settings = context.control, context.settings
    _drop_kept(context)
    reached(Step.BEFORE_START)
    with control.transaction():
        deferred = create(control, VERSION)
        copy_default_privileges(control)
        copy_privileges(control)
        record_start(
            control,
            topic=settings.topic,
            migration=applied_version(control),
            fingerprint_version=VERSION,
            history_from=context.options.history_from,
            deferred_indexes=deferred,
        )
    reached(Step.STARTED)
    ensure_near_days(control)
    started = find_open(control)
    assert started is not None
    return started


def _drop_kept(context: Context) -> None:
    """Drop the tables that an earlier rebuild kept: this one compares with the tables that are live now, and needs their schema.

    Raises StoreError when a session reads them.
    """
    control = context.control
    if OLD_SCHEMA not in existing_schemas(control):
        return
    log.warning(
        "dropping_kept_tables",
        schema=OLD_SCHEMA,
        means="an earlier rebuild kept the tables it replaced; its report is kept in jobtrail_control.rebuilds",
    )
    try:
        with control.transaction():
            _drop_old(control)
    except LockNotAvailable as error:
        raise StoreError(
            f"the tables that an earlier rebuild kept (schema {OLD_SCHEMA}) cannot be dropped while a session reads them: "
            "end that session, and run `jobtrail rebuild` again."
        ) from error


def _drop_old(control: psycopg.Connection) -> None:
    """Drop the replaced tables, in the caller's transaction. Raises LockNotAvailable when a session reads them for 5 s."""
    control.execute("SET LOCAL lock_timeout = '5s'")
    drop(control, OLD_SCHEMA)


def _load(context: Context, broker: Broker, rebuild: Rebuild, meter: ProgressMeter) -> bool:
    """Read the topic up to where it ends now. Return False if asked to stop before."""
    positions = read_positions(context.control, rebuild.id)
    ends = last_positions(broker.admin, context.settings, list(positions))
    context.reporter.phase("loading", rebuild=rebuild.id, partitions=len(positions))
    places = {partition: progress.place for partition, progress in positions.items()}
    load(context.settings, rebuild, places, ends, context.stop, meter.report_when_due)
    return not context.stop.requested


def _follow(context: Context, broker: Broker, rebuild: Rebuild, meter: ProgressMeter) -> Rebuild | None:
    history_from = context.options.history_from or rebuild.history_from
    positions = read_positions(context.control, rebuild.id)
    places = {number: progress.place for number, progress in positions.items()}
    source = Source(broker.client, context.settings, places, history_from)
    applier = Applier(context.settings, broker.client, rebuild.id, context.stop)
    swapper = Swapper(context, broker, rebuild, lambda: read_bound(context.control, history_from))
    try:
        done = applier.open() and follow(
            context,
            broker,
            source,
            applier,
            swapper,
            on_new_partition=lambda partition: add_partitions(context.control, rebuild.id, [partition]),
            on_round=meter.report_when_due,
        )
    finally:
        applier.close()
        swapper.close()
    if not done:
        return None
    log.info("swapped", rebuild=rebuild.id, writers_waited_at_most_seconds=round(swapper.held_seconds, 3))
    return rebuild._replace(state=State.SWAPPED, history_from=history_from)


def _require_same(context: Context, found: Rebuild) -> None:
    """Raise StoreError or InputError unless the open rebuild resumes with the same rules and topic."""
    wanted_from = context.options.history_from
    changed = next(
        (
            f"{name} {was!r}, now it is {now!r}"
            for name, was, now in (
                ("the topic", found.topic, context.settings.topic),
                ("migration", found.migration, applied_version(context.control)),
                ("fingerprint version", found.fingerprint_version, VERSION),
            )
            if was != now
        ),
        None,
    )
    if changed is not None:
        raise StoreError(
            f"rebuild {found.id} was begun with {changed}: start again with `jobtrail rebuild --restart`, or drop it with "
            "`--abandon`."
        )
    if wanted_from and found.history_from and wanted_from < found.history_from:
        raise InputError(
            f"rebuild {found.id} reads from {format_time(found.history_from)} on: to read from {format_time(wanted_from)} "
            "on, start again with `--restart`."
        )
