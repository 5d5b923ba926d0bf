"""A writer process: the product's fold and its transaction, with faults at chosen steps.

The connection is the product's own. Only its cursor class is replaced, by one that counts the statements and makes the
fault happen at the chosen one. Faults are real: the session is terminated, the process is killed.
"""

import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection as Pipe
from typing import Any

import psycopg

from derive.fold import fold
from derive.rows import DeadLetter
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import HorizonMovedError, prepare_session, write_batch
from tests.law.universes import Delivery

APPLICATION = "jobtrail-law"
HOLD_SECONDS = 0.05
HOLD_ALONE_SECONDS = 0.01  # while no other writer is in a transaction
STEPS_BEFORE_THE_FIRST_COMMIT = 12  # a guess until this process has seen a whole transaction

_OTHERS = """
SELECT
    count(*) FILTER (WHERE wait_event_type = 'Lock' AND %(me)s = ANY (pg_blocking_pids(pid))),
    count(*)
FROM pg_stat_activity
WHERE application_name = %(application)s
    AND pid <> %(me)s
    AND datname = current_database()
    AND state <> 'idle'
"""


class RolledBackError(Exception):
    """The fault ``rollback``: an error in the writer's process between two statements."""


@dataclass(frozen=True)
class Report:
    """The result of one delivery. ``outcome`` is ``written``, a fault that happened, ``deadlock`` or ``error``."""

    outcome: str
    committed: bool = False
    steps: int = 0
    waited_for_by: int = 0
    expired: int = 0
    detail: str = ""


@dataclass
class _Steps:
    """Counts statements; calls ``act`` once, at step ``at``."""

    at: int = -1
    act: Callable[[], None] = lambda: None
    seen: int = 0
    waited_for_by: int = field(default=0)

    def step(self) -> None:
        self.seen += 1
        if self.seen == self.at:
            self.act()


def serve(pipe: Pipe, database_url: str) -> None:
    """Write each delivery from the pipe and answer with a Report; end when the other side closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the test handles Ctrl-C, and closes the pipe
    observer = psycopg.connect(database_url, autocommit=True)
    settings = DatabaseSettings.load(database_url=database_url)
    connection, usual_steps = _connected(settings), STEPS_BEFORE_THE_FIRST_COMMIT
    while True:
        try:
            delivery: Delivery = pipe.recv()
        except EOFError:
            return
        report = _deliver(connection, observer, delivery, usual_steps)
        if report.outcome == "written":
            usual_steps = report.steps
        pipe.send(report)
        if connection.closed:
            connection = _connected(settings)


def _connected(settings: DatabaseSettings) -> psycopg.Connection[Any]:
    connection = connect(settings, APPLICATION)
    prepare_session(connection)
    return connection


def _deliver(
    connection: psycopg.Connection[Any],
    observer: psycopg.Connection[Any],
    delivery: Delivery,
    usual_steps: int,
) -> Report:
    steps = _Steps()
    act = {
        "rollback": _raise,
        "terminate": lambda: _terminate(observer, connection.info.backend_pid),
        "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
        "hold": lambda: _hold(observer, connection.info.backend_pid, steps),
    }.get(delivery.fault)
    if act is not None:
        steps.at, steps.act = 1 + delivery.step * usual_steps // 100, act
    connection.cursor_factory = _stepping_cursor(steps)
    try:
        expired = _write(connection, delivery)
    except RolledBackError:
        return Report("rollback", steps=steps.seen)
    except psycopg.errors.DeadlockDetected as error:
        return Report("deadlock", steps=steps.seen, detail=str(error))
    except psycopg.OperationalError as error:
        outcome = "terminate" if delivery.fault == "terminate" and connection.closed else "error"
        return Report(outcome, steps=steps.seen, detail=repr(error))
    except Exception:  # noqa: BLE001  # any error: the test fails and shows it
        return Report("error", steps=steps.seen, detail=traceback.format_exc())
    outcome = delivery.fault if delivery.fault not in ("", "hold") else "written"
    if outcome == "kill":  # the step is after the last statement: killed between commit and acknowledgement
        os.kill(os.getpid(), signal.SIGKILL)
    return Report(outcome, True, steps.seen, steps.waited_for_by, expired)


def _write(connection: psycopg.Connection[Any], delivery: Delivery) -> int:
    """Fold and write as a consumer does, again if the horizon has advanced; return the number of expired events."""
    letters = [DeadLetter(*row) for row in delivery.dead_letters]
    events = [Event(**event) for event in delivery.events]
    batch = fold(events, letters)
    while True:
        try:
            write_batch(connection, batch)
            return batch.expired
        except HorizonMovedError as moved:
            batch = fold(events, letters, moved.horizon_us)


def _raise() -> None:
    raise RolledBackError


def _terminate(observer: psycopg.Connection[Any], backend_pid: int) -> None:
    """Terminate the session from outside, and wait until it has ended."""
    observer.execute("SELECT pg_terminate_backend(%s)", [backend_pid])
    while observer.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [backend_pid]).fetchone():
        time.sleep(0.001)


def _hold(observer: psycopg.Connection[Any], backend_pid: int, steps: _Steps) -> None:
    """Stay in the transaction until another writer waits for it, or none seems to come."""
    started = time.monotonic()
    while not steps.waited_for_by:
        row = observer.execute(_OTHERS, {"application": APPLICATION, "me": backend_pid}).fetchone()
        assert row is not None
        steps.waited_for_by, others = row
        if time.monotonic() - started > (HOLD_SECONDS if others else HOLD_ALONE_SECONDS):
            break
        time.sleep(0.002)


def _stepping_cursor(steps: _Steps) -> type[psycopg.Cursor[Any]]:
    class SteppingCursor(psycopg.Cursor[Any]):
        def execute(self, *args: Any, **named: Any) -> Any:
            result = super().execute(*args, **named)
            steps.step()
            return result

        def executemany(self, *args: Any, **named: Any) -> None:
            super().executemany(*args, **named)
            steps.step()

        @contextmanager
        def copy(self, *args: Any, **named: Any) -> Iterator[psycopg.Copy]:
            with super().copy(*args, **named) as copy:
                yield copy
            steps.step()

    return SteppingCursor
