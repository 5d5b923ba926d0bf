"""The kinds of faults: how each is done to a process that stands at a step, and how it ends.

A function takes the site, the fault and who stands there, lets that process go on (or not), and gives what goes on, for
the scenario to end when it is over; None when there is nothing to end. What it says in the end is noted in the report;
a fault that met nobody ends with `NO_EFFECT` and does not count.
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
    """A fault that lasts: ``over`` is asked again and again, then ``end`` is called once and says what it met."""

    fault: Fault
    over: Callable[[], bool]
    end: Callable[[], str]


def killed(site: Site, fault: Fault, held: Held) -> None:
    """SIGKILL; another one is started in its place.

    At once, or after its other threads had the time to send what waits in their queues, acknowledgements for instance.
    """
    replica = site.fleet.by_pid(held.pid)
    if fault.variant % 2:
        time.sleep(_QUEUES_SENT_SECONDS)
    held.kill()
    if replica is not None:
        site.fleet.kill(replica)
        site.fleet.join()


def stopped(site: Site, fault: Fault, held: Held) -> Ongoing:
    """SIGSTOP until the broker has given its messages to others and a little longer, then SIGCONT: the zombie."""
    replica = site.fleet.by_pid(held.pid)
    assert replica is not None, "a replica that stands at a step runs"
    if len(site.fleet.working()) < 2:
        site.fleet.join()
    replica.pause()
    held.release()  # it finds the answer when it wakes
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
    """SIGKILL of all its processes; started again on the same data."""
    site.postgres.kill()
    held.release()
    return Ongoing(fault, _after(fault.seconds), lambda: _started(site.postgres.start))


def broker_killed(site: Site, fault: Fault, held: Held) -> Ongoing:
    """SIGKILL of the broker with its bookie; started again on the same data."""
    site.servers.broker.kill()
    held.release()
    return Ongoing(fault, _after(fault.seconds), lambda: _started(site.servers.broker.start))


def connections_cut(site: Site, fault: Fault, held: Held) -> Ongoing:
    """Every session of the aggregators is terminated by the server."""
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
    """No block is left on the disk of the database, its WAL included; until Postgres has said so and a little longer."""
    ballast = site.postgres.log.parent.parent / "ballast"
    said_before = _said_full(site.postgres.log)
    _fill(ballast)
    held.release()
    since = time.monotonic()
    full_at = [0.0]

    def over() -> bool:
        _fill(ballast)  # what Postgres gave back meanwhile: a stage that was emptied, a segment of its log
        if not full_at[0] and _said_full(site.postgres.log) > said_before:
            full_at[0] = time.monotonic()
        if not full_at[0] and time.monotonic() - since > _UNNOTICED_SECONDS:
            _use_the_log_up(site)
        return time.monotonic() - since > LONGEST_SECONDS or (
            bool(full_at[0]) and time.monotonic() - full_at[0] >= fault.seconds
        )

    def end() -> str:
        ballast.unlink()
        refused = _said_full(site.postgres.log) - said_before
        ended = not site.postgres.is_running
        if ended:
            site.postgres.kill()
            site.postgres.start()
        if not refused:
            return NO_EFFECT
        return f"{refused} errors of a full disk{', Postgres ended and was started again' if ended else ''}"

    return Ongoing(fault, over, end)


def _use_the_log_up(site: Site) -> None:
    """Postgres keeps segments of its log for later, and may have little to write: one is ended, so that it needs the next."""
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
    """Another session holds a lock that the writers need."""
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
    """The replica's path to the broker or to Postgres lets nothing through, one way or both, then all of it."""
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
    )  # past the broker's patience, at times

    def end() -> str:
        path.let_pass()
        return f"to the {'broker' if to_broker else 'database'}, {len(ways)} way{'s'[: len(ways) - 1]}, {seconds:.0f} s"

    return Ongoing(fault, _after(seconds), end)


def path_cut(site: Site, fault: Fault, held: Held) -> Ongoing | None:
    """The replica's connection is reset in the middle of what passes, after so many more bytes."""
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
    """One more replica."""
    site.fleet.join()
    held.release()


def leaves(site: Site, fault: Fault, held: Held) -> Ongoing | None:
    """The replica is asked to end; another one joins when it was the last."""
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
    """SIGKILL of a process of the rebuild; what it did goes on when it is begun again."""
    held.kill()


def publisher_killed(site: Site, _fault: Fault, held: Held) -> None:
    """SIGKILL of a program that publishes by the SDK; another one is started, and finds its spool."""
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
"""By name, as plans and reports have them."""


def _after(seconds: float) -> Callable[[], bool]:
    until = time.monotonic() + seconds
    return lambda: time.monotonic() >= until


def _started(start: Callable[[], None]) -> str:
    since = time.monotonic()
    start()
    return f"started again in {time.monotonic() - since:.0f} s"


def _said_full(log: Path) -> int:
    return log.read_text(errors="replace").count("No space left on device")


def _fill(path: Path) -> None:
    """Take every block of the file system that is left."""
    with path.open("ab") as ballast:
        size = os.fstat(ballast.fileno()).st_size
        for step in _BALLAST_BYTES:
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(ballast.fileno(), size, step)
                    size += step
