"""The kinds of faults: how each is done to a process that is held at a step, and how it ends.

Each function takes the site, the fault and the held process, and releases or kills that process. It returns an `Ongoing` for
the scenario to end, or None if there is nothing to end. The note from `Ongoing.end` goes into the report; a fault with the
note `NO_EFFECT` does not count.
"""

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psycopg

from store.locks import Lock
from tests.faults.director import Held
from tests.faults.network import BOTH, TO_SERVER, TO_SERVICE
from tests.faults.plan import PUBLISHER_KILLED, REBUILD_KILLED, Fault
from tests.faults.site import Site

NO_EFFECT = "no effect"
APPLICATION = "jobtrail aggregator"
_UNNOTICED_SECONDS = 5.0
LONGEST_SECONDS = 90
_QUEUES_SENT_SECONDS = 0.15  # pulsar-client sends acknowledgements every 100 ms
_BALLAST_BYTES = (16 * 1024 * 1024, 1024 * 1024, 64 * 1024, 4096)


class Ongoing(NamedTuple):
    """A fault that lasts. ``over`` is polled; when it is true, ``end`` is called once and returns the note."""

    fault: Fault
    over: Callable[[], bool]
    end: Callable[[], str]


def killed(site: Site, fault: Fault, held: Held) -> None:
    """Kill the replica, and start another one in its place.

    This happens at once, or after its other threads have had time to send their queues, for instance acknowledgements.
    """
    replica = site.fleet.by_pid(held.pid)
    if fault.variant % 2:
        time.sleep(_QUEUES_SENT_SECONDS)
    held.kill()
    if replica is not None:
        site.fleet.kill(replica)
        site.fleet.join()


def stopped(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Stop the replica until the broker has given its messages to others, and a little longer; then continue it as a zombie."""
    replica = site.fleet.by_pid(held.pid)
    assert replica is not None, "the held process is not a running replica"
    if len(site.fleet.working()) < 2:
        site.fleet.join()
    replica.pause()
    held.release()  # it reads the answer when it continues
    name = f"{socket.gethostname()}-{held.pid}"
    since = time.monotonic()
    gone_at = [0.0]

    def over() -> bool:
        found = site.subscription()
        names = {consumer["consumerName"] for one in found for consumer in one["consumers"]}
        if found and name not in names and not gone_at[0]:
            gone_at[0] = time.monotonic()
        waited = time.monotonic() - since
        return waited > LONGEST_SECONDS or (
            bool(gone_at[0]) and time.monotonic() - gone_at[0] >= fault.seconds
        )

    def end() -> str:
        replica.resume()
        if not gone_at[0]:
            return NO_EFFECT
        return f"dropped by the broker after {gone_at[0] - since:.0f} s, woke {time.monotonic() - since:.0f} s later"

    return Ongoing(fault, over, end)


def postgres_killed(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Kill all processes of Postgres, and start it again with the same data."""
    site.postgres.kill()
    held.release()
    return Ongoing(fault, _after(fault.seconds), lambda: _started(site.postgres.start))


def broker_killed(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Kill the broker and its bookie, and start it again with the same data."""
    site.servers.broker.kill()
    held.release()
    return Ongoing(fault, _after(fault.seconds), lambda: _started(site.servers.broker.start))


def connections_cut(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Let the server terminate every session of the aggregators."""
    count = 0
    with contextlib.suppress(psycopg.OperationalError), site.observer() as observer:
        count = observer.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = %s AND datname = current_database()",
            [APPLICATION],
        ).rowcount
    held.release()
    return Ongoing(fault, lambda: True, lambda: f"{count} sessions" if count else NO_EFFECT)


def disk_full(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Fill the disk of the database and its WAL until Postgres reports it, and a little longer."""
    ballast = site.postgres.log.parent.parent / "ballast"
    said_before = _count_disk_full(site.postgres.log)
    _fill(ballast)
    held.release()
    since = time.monotonic()
    full_at = [0.0]

    def over() -> bool:
        _fill(
            ballast
        )  # take the blocks that Postgres freed meanwhile: of an emptied stage table, of a WAL segment
        if not full_at[0] and _count_disk_full(site.postgres.log) > said_before:
            full_at[0] = time.monotonic()
        if not full_at[0] and time.monotonic() - since > _UNNOTICED_SECONDS:
            _switch_wal(site)
        return time.monotonic() - since > LONGEST_SECONDS or (
            bool(full_at[0]) and time.monotonic() - full_at[0] >= fault.seconds
        )

    def end() -> str:
        ballast.unlink()
        refused = _count_disk_full(site.postgres.log) - said_before
        ended = not site.postgres.is_running
        if ended:
            site.postgres.kill()
            site.postgres.start()
        if not refused:
            return NO_EFFECT
        return f"{refused} errors of a full disk{', Postgres ended and was started again' if ended else ''}"

    return Ongoing(fault, over, end)


def _switch_wal(site: Site) -> None:
    """End a WAL segment, so that Postgres needs the next one: it recycles segments, and may have little to write."""
    with contextlib.suppress(psycopg.Error), site.observer() as observer:
        observer.execute("SELECT pg_logical_emit_message(false, 'full', 'one more'), pg_switch_wal()")


_LOCKS = (
    "LOCK TABLE jobtrail.jobs IN ACCESS EXCLUSIVE MODE",
    "LOCK TABLE jobtrail.failure_groups IN ACCESS EXCLUSIVE MODE",
    "SELECT FROM jobtrail.outcomes_hourly FOR UPDATE",
    "LOCK TABLE jobtrail.attempts IN SHARE MODE",
    f"SELECT pg_advisory_xact_lock(hashtext('{Lock.DERIVED.value}'))",
)
_WAITING = """
SELECT count(*)
FROM pg_stat_activity
WHERE application_name = %s AND datname = current_database() AND wait_event_type = 'Lock'
"""


def lock_held(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Let another session hold a lock that the writers need."""
    statement = _LOCKS[fault.variant % len(_LOCKS)]
    met, ended = [0], threading.Event()

    def hold() -> None:
        with contextlib.suppress(psycopg.Error), psycopg.connect(site.database_url) as holder:
            holder.execute("SET lock_timeout = '30s'")
            holder.execute(statement)
            with site.observer() as observer:
                until = time.monotonic() + fault.seconds
                while time.monotonic() < until:
                    row = observer.execute(_WAITING, [APPLICATION]).fetchone()
                    met[0] = max(met[0], row[0] if row else 0)
                    time.sleep(0.2)
            holder.rollback()
        ended.set()

    threading.Thread(target=hold, name="lock", daemon=True).start()
    held.release()
    words = " ".join(statement.split()[:4])
    return Ongoing(
        fault,
        ended.is_set,
        lambda: f"{words}: {met[0]} sessions waited" if met[0] else NO_EFFECT,
    )


def path_stalled(site: Site, fault: Fault, held: Held) -> Ongoing | None:
    """Stall the replica's path to the broker or to Postgres, in one direction or both, then let everything pass."""
    replica = site.fleet.by_pid(held.pid)
    if replica is None:
        held.release()
        return None
    to_broker = fault.variant % 2 == 0
    path = replica.to_broker if to_broker else replica.to_database
    ways = ((TO_SERVER,), (TO_SERVICE,), BOTH)[fault.variant // 2 % 3]
    path.stall(*ways)
    held.release()
    seconds = (
        fault.seconds * 5 if fault.variant % 5 == 0 else fault.seconds
    )  # sometimes longer than the broker's timeout

    def end() -> str:
        path.let_pass()
        return f"to the {'broker' if to_broker else 'database'}, {len(ways)} way{'s'[: len(ways) - 1]}, {seconds:.0f} s"

    return Ongoing(fault, _after(seconds), end)


def path_cut(site: Site, fault: Fault, held: Held) -> Ongoing | None:
    """Reset the replica's connection in the middle of the stream, after a number of bytes."""
    replica = site.fleet.by_pid(held.pid)
    if replica is None:
        held.release()
        return None
    to_broker = fault.variant % 2 == 0
    path = replica.to_broker if to_broker else replica.to_database
    way = (TO_SERVER, TO_SERVICE)[fault.variant // 2 % 2]
    count = (0, 7, 150, 4_000)[fault.variant // 4 % 4]
    path.cut_after(count, way)
    held.release()
    since = time.monotonic()

    def over() -> bool:
        return not path.cut_is_due(way) or time.monotonic() - since > 20

    def end() -> str:
        if path.cut_is_due(way):
            path.let_pass()
            return NO_EFFECT
        return f"to the {'broker' if to_broker else 'database'}, {way}, after {count} bytes"

    return Ongoing(fault, over, end)


def joins(site: Site, _fault: Fault, held: Held) -> None:
    """Start one more replica."""
    site.fleet.join()
    held.release()


def leaves(site: Site, fault: Fault, held: Held) -> Ongoing | None:
    """Ask the replica to end; start another one if it was the last."""
    replica = site.fleet.by_pid(held.pid)
    if replica is None or replica.expected_to_end:
        held.release()
        return None
    site.fleet.leave(replica)
    if not site.fleet.working():
        site.fleet.join()
    held.release()
    process = replica.service.process
    return Ongoing(fault, lambda: process.poll() is not None, lambda: f"ended with status {process.poll()}")


def rebuild_killed(_site: Site, _fault: Fault, held: Held) -> None:
    """Kill a process of the rebuild, which continues when it is started again."""
    held.kill()


def publisher_killed(site: Site, _fault: Fault, held: Held) -> None:
    """Kill a program that publishes by the SDK, and start another one, which finds its spool."""
    site.workers.kill()
    site.workers.start()
    held.release()


KINDS: dict[str, Callable[[Site, Fault, Held], Ongoing | None]] = {
    "killed": killed,
    "stopped": stopped,
    "postgres killed": postgres_killed,
    "broker killed": broker_killed,
    "connections cut": connections_cut,
    "disk full": disk_full,
    "lock held": lock_held,
    "path stalled": path_stalled,
    "path cut": path_cut,
    "joins": joins,
    "leaves": leaves,
    REBUILD_KILLED: rebuild_killed,
    PUBLISHER_KILLED: publisher_killed,
}
"""The kinds by name, as in plans and reports."""


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _started(start: Callable[[], None]) -> str:
    since = time.monotonic()
    start()
    return f"started again in {time.monotonic() - since:.0f} s"


def _count_disk_full(log: Path) -> int:
    return log.read_text(errors="replace").count("No space left on device")


def _fill(path: Path) -> None:
    """Take every free block of the file system."""
    with path.open("ab") as ballast:
        size = os.fstat(ballast.fileno()).st_size
        for step in _BALLAST_BYTES:
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(ballast.fileno(), size, step)
                    size += step
