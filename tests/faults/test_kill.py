"""SIGKILL of the aggregator while events pass: nothing is lost and nothing is counted twice.

A million events take some minutes: JOBTRAIL_KILL_EVENTS=1000000. The usual run is shorter.
"""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from bench.publish import publish
from bench.workload import messages
from broker import provision
from schemas.contract import SCHEMA_TEXT
from schemas.decode import decoder
from servers.pulsar import Pulsar
from settings.provision import ProvisionSettings
from tests.faults.phases import sessions
from tests.law.oracle import oracle
from tests.law.tables import difference, read_tables
from tests.services import Service, wait_until

EVENTS = int(os.environ.get("JOBTRAIL_KILL_EVENTS", "120000"))
EVENTS_A_JOB = 3.5
# The phase that each kill waits for; None takes the one it meets.
KILLS = (
    "merge jobs",
    "copy",
    "merge attempts",
    "commit",
    "merge edges",
    None,
    "sums",
    "merge jobs",
    None,
    "copy",
)


def test_killed_ten_times_the_tables_equal_the_oracle(
    pulsar: Pulsar, database_url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    topic = f"persistent://jobtrail/lifecycle/kills-{time.time_ns()}"
    settings = {
        "JOBTRAIL_PULSAR_URL": pulsar.url,
        "JOBTRAIL_PULSAR_ADMIN_URL": pulsar.admin_url,
        "JOBTRAIL_TOPIC": topic,
        "JOBTRAIL_DATABASE_URL": database_url,
        # Small batches, so that there are many to be killed in.
        "JOBTRAIL_AGGREGATOR_BATCH_EVENTS": "4000",
    }
    provision.run(
        ProvisionSettings.load(pulsar_url=pulsar.url, pulsar_admin_url=pulsar.admin_url, topic=topic),
        check=False,
    )
    now_us = time.time_ns() // 1000
    published = messages(round(EVENTS / EVENTS_A_JOB), start_us=now_us - 6 * 3600 * 1_000_000)
    publish(pulsar.url, topic, published)
    decode = decoder(SCHEMA_TEXT)
    expected = oracle(decode(message.payload) for message in published)
    ends = sum(expected["attempts"].values())
    report = [f"{len(published)} events, {ends} ends"]

    with psycopg.connect(database_url, autocommit=True) as observer:
        log = tmp_path / "aggregator.log"
        running = Service("aggregate", settings, log)
        open_transactions = 0
        for number, wanted in enumerate(KILLS, 1):
            running.wait_ready()
            _wait_for_ends(observer, pulsar, topic, ends * number // (len(KILLS) + 2), running)
            if _all_acknowledged(pulsar, topic):
                break  # nothing is left to kill in: the comparison tells whether that is right
            killed_in, unacknowledged = _kill_in(
                observer, running, wanted, lambda: _subscription(pulsar, topic)
            )
            open_transactions += "transaction open" in killed_in
            wait_until(lambda: not sessions(observer), "the killed sessions to end")
            report.append(
                f"kill {number:2}: {killed_in}; {_ends(observer)} ends committed, "
                f"{unacknowledged} messages delivered and unacknowledged"
            )
            running = Service("aggregate", settings, log)
        running.wait_ready()
        _wait_for_ends(observer, pulsar, topic, ends, running)
        wait_until(lambda: _all_acknowledged(pulsar, topic), "every acknowledgement", running.end_of_log)
        assert running.stop() == 0, running.end_of_log()
        found = read_tables(observer)

    with capsys.disabled():
        print("", *report, f"with a transaction open: {open_transactions} of {len(KILLS)}", sep="\n    ")
    assert difference(expected, found) == []
    assert len(report) == 1 + len(KILLS), "the events were done before the last kill"
    assert open_transactions >= 5


def _kill_in(
    observer: psycopg.Connection[Any], running: Service, wanted: str | None, subscription: Callable[[], Any]
) -> tuple[str, int]:
    """Stop the process as soon as a session is in the wanted phase, look at what is open, and kill it."""

    def met() -> bool:
        now = sessions(observer)
        return any(session.in_transaction and wanted in (None, session.phase) for session in now)

    wait_until(met, f"a session in {wanted}", running.end_of_log, poll_seconds=0)
    running.process.send_signal(signal.SIGSTOP)
    seen = sessions(observer)
    unacknowledged: int = subscription()["unackedMessages"]
    running.kill()
    return " + ".join(sorted(map(str, seen), key=lambda text: "transaction" not in text)), unacknowledged


def _wait_for_ends(
    observer: psycopg.Connection[Any], pulsar: Pulsar, topic: str, least: int, running: Service
) -> None:
    """Until so many ends are stored, or nothing is left that could bring them: then the comparison tells."""
    wait_until(
        lambda: _ends(observer) >= least or _all_acknowledged(pulsar, topic),
        f"{least} ends in the tables",
        running.end_of_log,
        deadline_seconds=600,
        poll_seconds=0.2,
    )


def _all_acknowledged(pulsar: Pulsar, topic: str) -> bool:
    return bool(_subscription(pulsar, topic)["msgBacklog"] == 0)


def _ends(observer: psycopg.Connection[Any]) -> int:
    row = observer.execute(
        "SELECT coalesce(sum(completed + retryable + discarded + cancelled), 0)::bigint FROM jobtrail.outcomes_hourly"
    ).fetchone()
    assert row is not None
    count: int = row[0]
    return count


def _subscription(pulsar: Pulsar, topic: str) -> Any:
    path = topic.replace("://", "/", 1)
    answer = httpx.get(f"{pulsar.admin_url}/admin/v2/{path}/partitioned-stats", timeout=30)
    answer.raise_for_status()
    return answer.json()["subscriptions"]["aggregator"]
