"""Following: one process reads on from where loading ended, until it has caught up with the publishers. Then it tries to swap."""

import time
from collections.abc import Callable, Mapping
from typing import Final

import structlog

from broker.reading import START, Position, partitions
from broker.topic_log import last_positions
from consumers.rebuild.applying import Applier
from consumers.rebuild.context import Broker, Context
from consumers.rebuild.source import Source
from consumers.rebuild.swap import Outcome, Swapper

log = structlog.get_logger(__name__)

_WAIT_SECONDS = 0.25
_LOOK_EVERY_SECONDS = 1.0
LEVEL_ENTRIES: Final = 200
"""It has caught up when no partition has more entries left than this. These are read during the swap."""

_PAUSE_SECONDS = 3.0
"""The time that writers get between two tries to swap, which block them."""


def follow(
    context: Context,
    broker: Broker,
    source: Source,
    applier: Applier,
    swapper: Swapper,
    *,
    on_new_partition: Callable[[int], None],
    on_round: Callable[[], None],
) -> bool:
    """Read on and try to swap until it succeeds. Return False if asked to stop before. Raises JobtrailError.

    ``on_new_partition`` is called when the topic has grown by one, ``on_round`` after every batch.
    """
    settings, stop = context.settings, context.stop
    look_at = try_at = time.monotonic()
    tries = 0
    while not stop.requested:
        applier.take(source.next_batch(_WAIT_SECONDS))
        on_round()
        now = time.monotonic()
        if now < look_at:
            continue
        look_at = now + _LOOK_EVERY_SECONDS
        for partition in set(partitions(broker.client, settings)) - set(source.positions):
            on_new_partition(partition)
            source.add(partition, START)
        if now < try_at or not has_caught_up(
            source.positions, last_positions(broker.admin, settings, list(source.positions))
        ):
            continue
        applier.drain()
        if stop.wait(0):
            break
        tries += 1
        tried = swapper.swap(source, applier)
        if tried.outcome is Outcome.DONE:
            return True
        log.info("not_swapped", tries=tries, why=tried.why, then="reads on and tries again")
        applier.take(tried.left)
        try_at = time.monotonic() + _PAUSE_SECONDS
    applier.drain()
    return False


def has_caught_up(read: Mapping[int, Position], ends: Mapping[int, Position]) -> bool:
    """Return whether so little is left of every partition that it can be read while writers wait."""
    return all(_is_near(position, ends[partition]) for partition, position in read.items())


def _is_near(position: Position, end: Position) -> bool:
    if position >= end or end.entry_id < 0:
        return True
    if position.ledger_id == end.ledger_id:
        return end.entry_id - position.entry_id <= LEVEL_ENTRIES
    return False  # still in an older ledger, but not for long
