"""The spool: events that the broker does not accept are kept on disk, and any living process sends them later."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import jobtrail
from jobtrail import _spool
from jobtrail._contract import SCHEMA_TEXT
from jobtrail._counts import Counts
from jobtrail._segment import Destination, Message, head, read, records
from jobtrail._spool import Spool
from servers.ports import HOST, free_ports
from testing.services import wait_until
from workers.tests.conftest import LiteServer, fresh, new_topic
from workers.tests.programs import run
from workers.tests.reading import Topic

HERE = Destination("pulsar://127.0.0.1:6650", "persistent://public/default/events")
MESSAGES: list[Message] = [(f"job-{number}", bytes([number]) * 50) for number in range(20)]


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Spool]:
    """Return a function that opens the same spool again, as another process would."""

    def made(
        max_bytes: int = 1 << 20, directory: Path | None = None, destination: Destination = HERE
    ) -> Spool:
        return Spool(directory or tmp_path / "shared", max_bytes, destination, Counts())

    return made


def claimed_messages(spool: Spool) -> list[Message]:
    """Claim and return all events that can be claimed, as a sending process does."""
    found: list[Message] = []
    while (claimed := spool.claim()) is not None:
        found += claimed.messages
        claimed.remove()
    return found


def test_accepted_events_are_found_by_the_next_process(make: Callable[..., Spool]) -> None:
    first = make()
    assert first.append(MESSAGES[:10])
    assert first.append(MESSAGES[10:])
    first.seal()
    assert claimed_messages(make()) == MESSAGES
    assert claimed_messages(make()) == []
    assert list(first.directory.iterdir()) == []


def test_segment_of_a_living_writer_is_not_claimed(make: Callable[..., Spool]) -> None:
    first, second = make(), make()
    assert first.append(MESSAGES)
    assert second.claim() is None
    first.seal()
    claimed = second.claim()
    assert claimed is not None
    assert make().claim() is None
    claimed.close()
    assert claimed_messages(make()) == MESSAGES


def test_last_record_cut_off_anywhere_costs_only_that_record() -> None:
    whole = head(HERE, SCHEMA_TEXT) + records(MESSAGES[:2])
    data = whole + records(MESSAGES[2:3])
    for length in range(len(whole) + 1, len(data)):
        contents = read(data[:length])
        assert (contents.messages, contents.damaged) == (MESSAGES[:2], 1)
    assert read(data).damaged == 0


def test_changed_byte_anywhere_costs_only_one_record() -> None:
    start = head(HERE, SCHEMA_TEXT)
    data = start + records(MESSAGES[:3])
    for at in range(len(start), len(data)):
        changed = bytearray(data)
        changed[at] ^= 0x41
        contents = read(bytes(changed))
        assert contents.damaged >= 1
        assert len(contents.messages) == 2
        assert set(contents.messages) < set(MESSAGES[:3])


def test_file_with_a_cut_or_changed_head_is_refused() -> None:
    data = head(HERE, SCHEMA_TEXT)
    for length in range(len(data)):
        with pytest.raises(ValueError, match=r"it does not begin|its head"):
            read(data[:length])


def test_spool_never_exceeds_its_size(make: Callable[..., Spool]) -> None:
    spools = [make(max_bytes=70_000) for _ in range(3)]
    accepted = sum(spool.append(MESSAGES) for _ in range(40) for spool in spools)
    assert 0 < accepted < 120
    assert spools[0].used_bytes() <= 70_000
    assert {spool.trouble for spool in spools} == {"full"}
    for spool in spools:
        spool.seal()
    assert len(claimed_messages(make(max_bytes=70_000))) == accepted * len(MESSAGES)


def test_only_the_owner_may_read_the_files(make: Callable[..., Spool]) -> None:
    spool = make()
    assert spool.append(MESSAGES)
    assert spool.directory.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in spool.directory.iterdir()] == [0o600]


def test_foreign_files_do_no_harm_and_stay(make: Callable[..., Spool], tmp_path: Path) -> None:
    spool = make()
    assert spool.append(MESSAGES)
    spool.seal()
    target = tmp_path / "target"
    target.write_bytes(head(HERE, SCHEMA_TEXT) + records(MESSAGES))
    name = f"{HERE.key}-0{{}}.segment".format
    foreign = [spool.directory / name(kind) for kind in ("text", "empty", "link", "fifo", "folder", "other")]
    foreign[0].write_text("not ours")
    foreign[1].write_bytes(b"")
    foreign[2].symlink_to(target)
    os.mkfifo(foreign[3])
    foreign[4].mkdir()
    foreign[5].write_bytes(
        head(Destination("pulsar://elsewhere", HERE.topic), SCHEMA_TEXT) + records(MESSAGES)
    )
    assert claimed_messages(make()) == MESSAGES
    assert all(os.path.lexists(path) for path in foreign)
    assert target.exists()


def test_file_of_another_user_is_left_alone(make: Callable[..., Spool]) -> None:
    spool = make()
    assert spool.append(MESSAGES)
    spool.seal()
    (path,) = spool.directory.iterdir()
    os.chown(path, 65534, 65534)
    assert make().claim() is None
    assert path.exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Return a directory on a file system of 64 kB."""
    place = tmp_path / "small"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"this test needs the right to mount a tmpfs: {done.stderr}"
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_full_disk_loses_nothing_that_was_accepted(
    make: Callable[..., Spool],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(_spool, "PAUSE_SECONDS", 0)
    spool = make(max_bytes=1 << 30, directory=small_disk / "spool")
    large: list[Message] = [("job", b"x" * 3_000)] * 3
    accepted = sum(spool.append(large) for _ in range(30))
    assert 0 < accepted < 30
    assert spool.trouble == "failed"
    assert "No space left on device" in caplog.text
    assert len([line for line in caplog.records if "cannot write" in line.getMessage()]) == 1
    spool.seal()
    reader = make(max_bytes=1 << 30, directory=small_disk / "spool")
    assert claimed_messages(reader) == large * accepted
    assert reader._counts.stats(0).dropped == {}
    assert spool.append(large), "there is room again"
    spool.seal()


def test_directory_that_cannot_be_made_is_logged_and_raises_nothing(
    make: Callable[..., Spool], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    spool = make(directory=tmp_path / "file" / "spool")
    assert not spool.append(MESSAGES)
    assert spool.claim() is None
    assert "name another directory (spool_dir)" in caplog.text


def test_failed_fsync_accepts_nothing(make: Callable[..., Spool], monkeypatch: pytest.MonkeyPatch) -> None:
    spool = make()

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", broken)
    assert not spool.append(MESSAGES)
    assert claimed_messages(make()) == []


def test_events_outlive_the_broker_and_the_process(tmp_path: Path) -> None:
    """A process publishes events while the broker is away, and ends; the next process sends them."""
    with LiteServer(tmp_path) as server:
        topic = Topic(server.url, new_topic())
        server.stop()
        made = run(
            """
            import jobtrail
            for number in range(1_500):
                jobtrail.event(job_id=f"early-{number}", worker="W", state="completed")
            assert jobtrail.flush(30), jobtrail.stats()
            assert jobtrail.stats().spooled == 1_500, jobtrail.stats()
            """,
            topic,
            JOBTRAIL_SPOOL_DIR=str(tmp_path / "spool"),
        )
        assert made.returncode == 0, made.stderr
        server.start()
        sent = run(
            """
            import jobtrail
            jobtrail.event(job_id="late", worker="W", state="completed")
            """,
            topic,
            JOBTRAIL_SPOOL_DIR=str(tmp_path / "spool"),
        )
        assert sent.returncode == 0, sent.stderr
        assert list((tmp_path / "spool").iterdir()) == []
        found = {event["job_id"] for event in topic.read(flush=False)}
        assert found == {f"early-{number}" for number in range(1_500)} | {"late"}


def test_broker_that_never_answers_delays_no_job(tmp_path: Path, spool_directory: Path) -> None:
    fresh()
    with LiteServer(tmp_path) as server:
        topic = Topic(server.url, new_topic())
        jobtrail.configure(
            namespace="tests",
            pulsar_url=topic.url,
            topic=topic.name,
            spool_after_seconds=0.3,
            linger_seconds=0,
        )
        jobtrail.event(job_id="before", worker="W", state="completed")
        assert jobtrail.flush(30)
        os.kill(server.pid, signal.SIGSTOP)
        try:
            started = time.monotonic()
            for number in range(3_000):
                assert jobtrail.event(job_id=f"hung-{number}", worker="W", state="completed")
            assert jobtrail.flush(8), jobtrail.stats()
            assert time.monotonic() - started < 8
            assert jobtrail.stats().spooled >= 3_000
            assert jobtrail.stats().queued == 0
        finally:
            os.kill(server.pid, signal.SIGCONT)
        wait_until(lambda: not any(spool_directory.iterdir()), "the spool to be sent", deadline_seconds=40)
        assert len({event["job_id"] for event in topic.read(flush=False)}) == 3_001
        assert jobtrail.shutdown(5)
    fresh()


def test_forked_and_killed_workers_lose_no_accepted_event(tmp_path: Path) -> None:
    """While the broker is away, forked workers with one spool are killed; another process then sends everything."""
    (tmp_path / "tally").mkdir()
    with LiteServer(tmp_path) as server:
        topic = Topic(server.url, new_topic())
        server.stop()
        environment = {
            **os.environ,
            "JOBTRAIL_PULSAR_URL": topic.url,
            "JOBTRAIL_TOPIC": topic.name,
            "JOBTRAIL_SPOOL_DIR": str(tmp_path / "spool"),
            "JOBTRAIL_SPOOL_AFTER_SECONDS": "0.1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        program = [sys.executable, str(Path(__file__).with_name("tally_worker.py")), str(tmp_path / "tally")]
        with subprocess.Popen(
            [*program, "--processes", "3"], env=environment, start_new_session=True
        ) as workers:
            try:
                wait_until(lambda: len(tally(tmp_path)) > 600, "accepted events", deadline_seconds=30)
            finally:
                os.killpg(workers.pid, signal.SIGKILL)
        promised = tally(tmp_path)
        server.start()
        sent = run(
            """
            import jobtrail, os, time
            jobtrail.event(job_id="late", worker="W", state="completed")
            end = time.monotonic() + 30
            while os.listdir(os.environ["JOBTRAIL_SPOOL_DIR"]) and time.monotonic() < end:
                time.sleep(0.1)
            """,
            topic,
            JOBTRAIL_SPOOL_DIR=str(tmp_path / "spool"),
        )
        assert sent.returncode == 0, sent.stderr
        assert promised <= {event["job_id"] for event in topic.read(flush=False)}


def tally(place: Path) -> set[str]:
    """Return the job ids that the workers recorded as accepted."""
    return {
        line for path in (place / "tally").glob("*.accepted") for line in path.read_text().split("\n")[:-1]
    }


def test_child_does_not_keep_the_parents_segments_locked(make: Callable[..., Spool]) -> None:
    """A child inherits a flock, so the lock would outlive the parent."""
    spool = make()
    assert spool.append(MESSAGES)
    goes_on, end_it = os.pipe()
    is_there, says_so = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end_it)
        os.write(says_so, b"x")
        os.read(goes_on, 1)
        os._exit(0)
    try:
        os.read(is_there, 1)
        spool.seal()
        assert claimed_messages(make()) == MESSAGES
    finally:
        for descriptor in (end_it, goes_on, is_there, says_so):
            os.close(descriptor)
        os.waitpid(child, 0)


def test_without_a_broker_only_events_without_room_are_dropped(tmp_path: Path) -> None:
    fresh()
    (port,) = free_ports(1)
    jobtrail.configure(
        namespace="tests",
        pulsar_url=f"pulsar://{HOST}:{port}",
        spool_max_bytes=65_536,
        spool_after_seconds=0,
        queue_max_events=2_000,
        shutdown_timeout_seconds=0,
    )
    for number in range(40):
        for index in range(200):
            jobtrail.event(job_id=f"{number}-{index}", worker="W", state="completed")
        jobtrail.flush(0.05)
    stats = jobtrail.stats()
    assert stats.spooled > 0
    assert stats.dropped.keys() == {"spool_full"}
    assert stats.accepted == stats.spooled + stats.queued
    assert stats.accepted + stats.dropped["spool_full"] == 8_000
    assert sum(path.stat().st_size for path in (tmp_path / "spool").iterdir()) <= 65_536
    jobtrail.shutdown(0)
    fresh()
