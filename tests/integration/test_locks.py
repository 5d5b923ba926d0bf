"""Advisory locks: which are shared, who waits, and that sessions take several of them in one order."""

import threading
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.errors import LockNotAvailable

from store.locks import (
    Lock,
    acquire,
    acquire_for_session,
    acquire_shared,
    acquire_shared_for_session,
    release,
    try_acquire_for_session,
)
from store.rebuild.tables import lock_all_out
from store.retention.session import lock_partitions
from tests.integration.aging import session

_HELD = """
SELECT lock.granted
FROM pg_locks AS lock
WHERE lock.pid = %s AND lock.locktype = 'advisory' AND lock.objid = hashtext(%s)::oid
"""


def holds(observer: psycopg.Connection, pid: int, lock: Lock) -> bool | None:
    """Return whether the session has the lock (True), waits for it (False), or neither (None)."""
    row = observer.execute(_HELD, [pid, lock.value]).fetchone()
    return row[0] if row else None


def wait_until(condition: Callable[[], bool]) -> None:
    """Raise AssertionError unless the condition becomes true within ten seconds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_shared_locks_are_compatible_and_an_exclusive_one_waits_for_them(database_url: str) -> None:
    with session(database_url) as one, session(database_url) as other, session(database_url) as alone:
        acquire_shared(one, Lock.DERIVED)
        acquire_shared(other, Lock.DERIVED)
        alone.execute("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(LockNotAvailable):
            acquire(alone, Lock.DERIVED)


def test_a_lock_of_a_transaction_ends_with_it(database_url: str) -> None:
    with session(database_url) as one, session(database_url) as other:
        acquire(one, Lock.PARTITIONS)
        one.rollback()
        other.execute("SET LOCAL lock_timeout = '50ms'")
        acquire(other, Lock.PARTITIONS)


def test_a_lock_of_a_session_outlives_a_transaction_and_ends_when_it_is_released(database_url: str) -> None:
    with session(database_url) as one, session(database_url) as other:
        acquire_for_session(one, Lock.RETENTION)
        one.rollback()
        assert not try_acquire_for_session(other, Lock.RETENTION)
        release(one, Lock.RETENTION)
        assert try_acquire_for_session(other, Lock.RETENTION)


def test_a_session_that_is_gone_holds_nothing(database_url: str) -> None:
    with session(database_url) as other:
        with session(database_url) as one:
            acquire_shared_for_session(one, Lock.LOADERS)
            one.commit()
            assert not try_acquire_for_session(other, Lock.LOADERS)
        wait_until(lambda: try_acquire_for_session(other, Lock.LOADERS))


@pytest.mark.parametrize("acquired", [lock_partitions, lock_all_out], ids=["retention", "rebuild"])
def test_no_writer_waits_for_a_session_that_waits_for_another_lock(
    database_url: str, acquired: Callable[[psycopg.Connection], None]
) -> None:
    """DERIVED comes last. A session that took it first would block all writers, and could be part of a deadlock."""
    with (
        session(database_url) as holder,
        session(database_url, autocommit=True) as observer,
        session(database_url) as writer,
        session(database_url) as waiting,
    ):
        acquire(holder, Lock.PARTITIONS)
        failed: list[Any] = []

        def take() -> None:
            try:
                acquired(waiting)
            except psycopg.Error as error:
                failed.append(error)

        pid = waiting.info.backend_pid
        thread = threading.Thread(target=take)
        thread.start()
        wait_until(lambda: holds(observer, pid, Lock.PARTITIONS) is False)
        assert holds(observer, pid, Lock.DERIVED) is None
        writer.execute("SET LOCAL lock_timeout = '50ms'")
        acquire_shared(writer, Lock.DERIVED)
        writer.rollback()
        holder.rollback()
        thread.join(10)
        assert not failed
        assert holds(observer, pid, Lock.DERIVED) is True
