"""Sending: bounded, in the background and counted, with a broker that is away, comes back or refuses, and at exit."""

import logging
import os
import signal
import textwrap
import time
from pathlib import Path

import pulsar
import pytest

import jobtrail
from jobtrail import _counts, _encode, _runtime
from jobtrail._config import Config
from jobtrail._sender import Sender
from servers.ports import HOST, free_ports
from testing.services import wait_until
from workers.tests.conftest import LiteServer, fresh, new_topic
from workers.tests.programs import run
from workers.tests.reading import Topic, those

# Longer than any call of the SDK may take on a shared machine, and far shorter than a broker's timeout.
AT_ONCE_SECONDS = 0.5


def test_events_reach_both_brokers(any_url: str) -> None:
    fresh()
    topic = Topic(any_url, new_topic())
    jobtrail.configure(namespace="tests", pulsar_url=topic.url, topic=topic.name, spool_after_seconds=60)
    for number in range(2_500):
        jobtrail.event(job_id=f"job-{number}", worker="Many", state="completed")
    assert jobtrail.flush(30)
    assert jobtrail.stats() == jobtrail.Stats(accepted=2_500, sent=2_500, queued=0, dropped={})
    assert {event["job_id"] for event in topic.read()} == {f"job-{number}" for number in range(2_500)}
    assert jobtrail.shutdown(5)


def test_refused_schema_is_logged_in_one_line_with_the_cure(pulsar_url: str) -> None:
    """This runs in its own process, because the first client of a process sets pulsar-client's logger for good."""

    class Other(pulsar.schema.Record):  # type: ignore[misc]  # pulsar-client has no types
        number = pulsar.schema.Integer()

    topic = Topic(pulsar_url, new_topic())
    client = pulsar.Client(pulsar_url, logger=pulsar.FileLogger(pulsar.LoggerLevel.Error, os.devnull))
    client.create_producer(topic.name, schema=pulsar.schema.AvroSchema(Other))
    client.close()
    program = """
        import logging, time, jobtrail
        logging.basicConfig(format="%(message)s")
        records = []
        logging.getLogger("jobtrail").addFilter(lambda record: records.append(record) or True)
        jobtrail.event(job_id="1", worker="W", state="completed")
        deadline = time.monotonic() + 60
        while not records and time.monotonic() < deadline:
            time.sleep(0.05)
        jobtrail.shutdown(0)
    """
    ended = run(program, topic, JOBTRAIL_SHUTDOWN_TIMEOUT_SECONDS=0, JOBTRAIL_SPOOL="false")
    lines = (ended.stdout + ended.stderr).splitlines()
    assert "incompatible" in lines[0]
    assert topic.name in lines[0]
    assert len(lines) <= 2, lines  # the second one reports the event that is dropped at the end
    assert not any("IncompatibleSchema" in line for line in lines)


def test_job_is_not_delayed_while_the_broker_is_away(unsent: None) -> None:
    slowest = 0.0
    for number in range(12_000):
        started = time.monotonic()
        jobtrail.event(job_id=f"job-{number}", worker="W", state="completed")
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < AT_ONCE_SECONDS
    stats = jobtrail.stats()
    assert (stats.accepted, stats.queued, stats.sent) == (10_000, 10_000, 0)
    assert stats.dropped == {"queue_full": 2_000}


def test_queue_is_bounded_in_bytes(unsent: None) -> None:
    jobtrail.configure(
        pulsar_url=jobtrail_url(), queue_max_bytes=100_000, shutdown_timeout_seconds=0, spool=False
    )
    for number in range(100):
        jobtrail.event(job_id=str(number), worker="W", state="completed", args="x" * 8_000)
    assert jobtrail.stats().queued <= 100_000 // 8_000
    assert jobtrail.stats().dropped["queue_full"] >= 100 - 100_000 // 8_000


def jobtrail_url() -> str:
    return _runtime.config().pulsar_url


def test_events_made_while_the_broker_is_away_arrive_when_it_is_back(tmp_path: Path) -> None:
    fresh()
    server = LiteServer(tmp_path)
    topic = Topic(server.url, new_topic())
    jobtrail.configure(namespace="tests", pulsar_url=topic.url, topic=topic.name, spool=False)
    for number in range(10):
        jobtrail.event(job_id=f"early-{number}", worker="W", state="completed")
    assert not jobtrail.flush(0.2)
    with server:
        assert jobtrail.flush(60)
        server.stop()
        for number in range(10):
            jobtrail.event(job_id=f"late-{number}", worker="W", state="completed")
        assert not jobtrail.flush(0.2)
        server.start()
        assert jobtrail.flush(60)
        wanted = {f"{when}-{number}" for when in ("early", "late") for number in range(10)}
        assert {event["job_id"] for event in topic.read()} == wanted
        assert jobtrail.shutdown(5)
    fresh()


def test_bell_is_rung_once_until_the_sender_has_heard_it() -> None:
    """While events come without a pause, the sender's thread never sleeps, and each batch would ring the bell again."""
    sender = Sender(Config(spool=False), _counts.Counts())
    for _ in range(1_000):
        sender._ring()
    assert sender._bell.qsize() == 1


def test_flush_and_shutdown_keep_their_bounds_while_the_broker_is_away(unsent: None) -> None:
    jobtrail.event(job_id="1", worker="W", state="completed")
    started = time.monotonic()
    assert not jobtrail.flush(0.3)
    assert 0.3 <= time.monotonic() - started < 0.3 + AT_ONCE_SECONDS
    assert not jobtrail.shutdown(0.1)
    assert jobtrail.stats().dropped == {"unsent_at_exit": 1}
    assert jobtrail.event(job_id="2", worker="W", state="completed") is False
    assert jobtrail.stats().dropped == {"unsent_at_exit": 1, "shut_down": 1}


def test_drops_are_logged_at_once_and_then_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    counts = _counts.Counts(clock=lambda: now[0])
    assert not counts.report()
    counts.drop("queue_full", 3)
    assert counts.report()
    counts.drop("queue_full", 2)
    counts.drop("invalid", 1, "ValueError: state is 'lost'")
    now[0] = 59.9
    assert not counts.report()
    now[0] = 60.0
    assert counts.report()
    assert not counts.report()
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == [
        "dropped 3 (queue_full)",
        "dropped 1 (invalid)",
        "dropped 2 (queue_full)",
    ]
    assert "state is 'lost'" in lines[1]
    assert all(record.levelno == logging.WARNING and record.name == "jobtrail" for record in caplog.records)


def test_event_that_cannot_be_encoded_loses_no_other_event(events: Topic) -> None:
    with jobtrail.job("Before"):
        pass
    with jobtrail.job("Broken") as job:
        job.max_attempts = "three"  # type: ignore[assignment]  # a careless program
    with jobtrail.job("After"):
        pass
    found = events.read()
    assert len(those(found, worker="Before")) == len(those(found, worker="After")) == 2
    assert jobtrail.stats().dropped == {"invalid": 1}


def test_more_expected_children_than_an_event_may_name_are_left_out(events: Topic) -> None:
    """With all of them, the event would be larger than the broker and the consumers accept."""
    expected = {f"{number:05}{'w' * 295}": 1 for number in range(22_000)}
    jobtrail.event(job_id="1", worker="W", state="completed", expected_children=expected)
    jobtrail.event(job_id="2", worker="W", state="completed")
    large, small = events.read()
    assert large["expected_children"] == dict(list(expected.items())[:1_000])
    assert small["job_id"] == "2"
    assert jobtrail.stats().dropped == {"left_out": 1}


def test_event_larger_than_the_broker_accepts_is_dropped_and_logged(
    events: Topic, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Pulsar's client would never report its result, and the events beside it would look sent."""
    monkeypatch.setattr(_encode, "PAYLOAD_LIMIT_BYTES", 1_000)
    jobtrail.event(job_id="large", worker="W", state="completed", args="x" * 1_000)
    jobtrail.event(job_id="small", worker="W", state="completed")
    assert [event["job_id"] for event in events.read()] == ["small"]
    stats = jobtrail.stats()
    assert (stats.sent, stats.dropped) == (1, {"invalid": 1})
    wait_until(lambda: bool(caplog.records), "the log line of the drop")
    assert "at most 1000 can be sent: job 'large'" in caplog.records[0].getMessage()


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("", 0),
        ("sys.exit(3)", 3),
        ("raise ValueError('unhandled')", 1),
        (
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); os.kill(os.getpid(), signal.SIGTERM)",
            143,
        ),
    ],
    ids=["end", "exit", "exception", "sigterm"],
)
def test_events_are_flushed_at_the_end_of_the_program(topic: Topic, end: str, status: int) -> None:
    program = f"""
        import os, signal, sys, jobtrail
        with jobtrail.job("Last"):
            {end or "pass"}
    """
    done = run(program, topic)
    assert done.returncode == status, done.stderr
    assert [event["worker"] for event in topic.read(flush=False)] == ["Last", "Last"]


def test_program_ends_in_time_and_unharmed_while_the_broker_is_away() -> None:
    (port,) = free_ports(1)
    program = """
        import jobtrail
        jobtrail.configure(shutdown_timeout_seconds=0.5, spool=False)
        with jobtrail.job("Lost"):
            pass
    """
    started = time.monotonic()
    done = run(program, Topic(f"pulsar://{HOST}:{port}", new_topic()))
    assert time.monotonic() - started < 15
    assert done.returncode == 0, done.stderr
    assert "dropped 2 (unsent_at_exit)" in done.stderr


def test_program_ends_unharmed_while_the_broker_hangs(tmp_path: Path) -> None:
    program = """
        import os, signal, sys, jobtrail
        jobtrail.configure(shutdown_timeout_seconds=0.5, spool=False)
        with jobtrail.job("Sent"):
            pass
        assert jobtrail.flush(30)
        os.kill({pid}, signal.SIGSTOP)
        with jobtrail.job("Lost"):
            pass
    """
    with LiteServer(tmp_path) as server:
        done = run(program.format(pid=server.pid), Topic(server.url, new_topic()))
        os.kill(server.pid, signal.SIGCONT)
    assert done.returncode == 0, done.stderr
    assert "dropped 2 (unsent_at_exit)" in done.stderr


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_children_of_multiprocessing_send_their_own_events(topic: Topic, method: str, tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(f"""
        import multiprocessing, jobtrail

        def work(number):
            with jobtrail.job("Child", job_id=f"child-{{number}}"):
                pass

        if __name__ == "__main__":
            with jobtrail.job("Parent", job_id="parent"):
                jobtrail.flush(10)
                context = multiprocessing.get_context("{method}")
                children = [context.Process(target=work, args=(number,)) for number in range(3)]
                for child in children: child.start()
                for child in children: child.join()
                assert [child.exitcode for child in children] == [0, 0, 0]
        """)
    )
    done = run(f"import runpy; runpy.run_path({str(script)!r}, run_name='__main__')", topic)
    assert done.returncode == 0, done.stderr
    found = those(topic.read(flush=False), state="completed")
    assert sorted(event["job_id"] for event in found) == ["child-0", "child-1", "child-2", "parent"]
    assert len({event["executor"] for event in found}) == 4


def test_event_in_a_signal_handler_does_not_deadlock(topic: Topic) -> None:
    program = """
        import signal, time, jobtrail
        def handler(*_):
            jobtrail.event(job_id="signal", worker="Handler", state="completed")
        signal.signal(signal.SIGALRM, handler)
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        end = time.monotonic() + 2
        while time.monotonic() < end:
            jobtrail.event(job_id="loop", worker="Loop", state="completed")
            time.sleep(0.0005)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert jobtrail.flush(30)
        stats = jobtrail.stats()
        assert stats.accepted == stats.sent and not stats.dropped, stats
    """
    done = run(program, topic)
    assert done.returncode == 0, done.stderr


def test_import_does_no_work() -> None:
    program = """
        import sys, threading, jobtrail
        assert threading.active_count() == 1
        assert "pulsar" not in sys.modules and "fastavro" not in sys.modules
        forbidden = {"schemas", "settings", "broker", "store", "consumers", "publishers", "cli", "demo"}
        assert not forbidden & {name.partition(".")[0] for name in sys.modules}
    """
    done = run(program, Topic("pulsar://127.0.0.1:1", new_topic()))
    assert done.returncode == 0, done.stderr


def test_disabled_sdk_records_nothing(topic: Topic) -> None:
    fresh()
    jobtrail.configure(enabled=False, pulsar_url=topic.url, topic=topic.name)
    with jobtrail.job("Silent"):
        jobtrail.enqueued("Silent")
    assert jobtrail.stats() == jobtrail.Stats(accepted=0, sent=0, queued=0, dropped={})
    fresh()
