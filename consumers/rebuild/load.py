"""Loading: several processes read the topic, each of them some partitions, up to their ends when loading began.

All events of a job are in one partition, so the processes write the same rows only in the aggregates. Decoding is most of the
work, and Python decodes on one core, so there are as many processes as cores.
"""

import multiprocessing
import os
from collections.abc import Callable, Mapping
from multiprocessing.context import SpawnProcess

import structlog

from broker.client import connect
from broker.reading import Position
from consumers.process.barriers import reached
from consumers.process.interpreter import set_interpreter
from consumers.process.log import configure_log
from consumers.process.stop import Stop, stop_on_signals
from consumers.rebuild.applying import APPLICATION, Applier
from consumers.rebuild.source import Source
from schemas.errors import JobtrailError, StoreError
from settings.rebuild import RebuildSettings
from store.connection import REBUILD_SCHEMA
from store.connection import connect as connect_database
from store.rebuild.state import Place, Rebuild, join_loaders
from store.steps import Step

log = structlog.get_logger(__name__)

MOST_PROCESSES = 4
_POLL_SECONDS = 0.2
_BATCH_WAIT_SECONDS = 1.0
_END_SECONDS = 30


def load(
    settings: RebuildSettings,
    rebuild: Rebuild,
    positions: Mapping[int, Place],
    ends: Mapping[int, Position],
    stop: Stop,
    turned: Callable[[], None],
) -> None:
    """Read every partition up to its end. Return early if asked to stop. ``turned`` is called now and then.

    Raises StoreError when one of the processes failed; what it had committed stays.
    """
    left = [partition for partition in positions if Position(*positions[partition]) < ends[partition]]
    # Assign the largest partitions first and in turn, so that the processes end at about the same time.
    count = min(len(left), settings.rebuild_processes or min(os.cpu_count() or 1, MOST_PROCESSES))
    spawn = multiprocessing.get_context("spawn")  # never a fork: Pulsar's client has threads
    processes = []
    for number in range(count):
        mine = left[number::count]
        process = spawn.Process(
            target=_main,
            args=(
                settings,
                rebuild,
                {partition: positions[partition] for partition in mine},
                {partition: ends[partition] for partition in mine},
                os.getpid(),
            ),
            name=f"load-{number}",
        )
        process.start()
        processes.append(process)
    try:
        _wait(processes, stop, turned)
    finally:
        _end(processes)
    failed = [process.exitcode for process in processes if process.exitcode]
    if failed and not stop.requested:
        raise StoreError(
            f"a loading process ended with status {failed[0]}; its error is above. What was loaded is kept: "
            "`jobtrail rebuild` resumes from there."
        )


def _wait(processes: list[SpawnProcess], stop: Stop, turned: Callable[[], None]) -> None:
    while any(process.is_alive() for process in processes):
        turned()
        if stop.wait(_POLL_SECONDS) or any(process.exitcode for process in processes):
            return


def _end(processes: list[SpawnProcess]) -> None:
    """End the processes. SIGTERM lets each commit its batches in progress."""
    for process in processes:
        if process.is_alive():
            process.terminate()
    for process in processes:
        process.join(_END_SECONDS)
        if process.is_alive():
            process.kill()
            process.join()


def _main(
    settings: RebuildSettings,
    rebuild: Rebuild,
    positions: dict[int, Place],
    ends: dict[int, Position],
    parent: int,
) -> None:
    """Run one of the processes. It ends by itself when its parent is gone."""
    configure_log(settings, "rebuild")
    stop = stop_on_signals()
    try:
        _load(settings, rebuild, positions, ends, parent, stop)
    except JobtrailError as error:
        log.error(  # noqa: TRY400 - an error of ours: its message says everything
            "loading_failed", error=str(error), then="`jobtrail rebuild` resumes after the last batch"
        )
        raise SystemExit(2) from error


def _load(
    settings: RebuildSettings,
    rebuild: Rebuild,
    positions: dict[int, Place],
    ends: dict[int, Position],
    parent: int,
    stop: Stop,
) -> None:
    client = connect(settings)
    try:
        with connect_database(settings, APPLICATION, schema=REBUILD_SCHEMA) as membership:
            join_loaders(membership)
            applier = Applier(settings, client, rebuild.id, stop)
            try:
                source = Source(client, settings, positions, rebuild.history_from)
                if not applier.open():
                    return
                set_interpreter()
                while not stop.requested and os.getppid() == parent:
                    taken = source.next_up_to(ends, _BATCH_WAIT_SECONDS)
                    if taken is None:
                        break
                    applier.take(taken)
                    reached(Step.LOADING)
                applier.drain()
            finally:
                applier.close()
    finally:
        client.close()
