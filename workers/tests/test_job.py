"""What is recorded for a job: its states, its lineage, its failures."""

import asyncio
import concurrent.futures
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import pytest

import jobtrail
from workers.tests.reading import Topic, only, those


class MovieNotReady(Exception):
    """A failure with the user's own category."""


def test_job_is_executing_then_completed_and_its_end_repeats_everything(events: Topic) -> None:
    enqueued_at = datetime.now(UTC) - timedelta(minutes=3)
    with jobtrail.job(
        "MoviePageJob",
        job_id="page-1",
        queue="scraping",
        source="kino-krakow",
        external_id="movie:4711",
        attempt=2,
        max_attempts=5,
        args={"movie": 4711},
        enqueued_at=enqueued_at,
        depends_on=["other-1"],
        meta={"shard": 7},
    ):
        pass
    start, end = events.read()
    assert (start["state"], end["state"]) == ("executing", "completed")
    for name in (
        "namespace",
        "job_id",
        "worker",
        "queue",
        "source",
        "external_id",
        "attempt",
        "max_attempts",
    ):
        assert start[name] == end[name] != ""
    assert start["occurred_at"] == start["started_at"] == end["started_at"] <= end["occurred_at"]
    assert start["enqueued_at"] == end["enqueued_at"] == int(enqueued_at.timestamp() * 1_000_000)
    assert (start["args"], end["args"]) == ('{"movie": 4711}', "")
    assert start["depends_on"] == ["other-1"]
    assert end["meta"] == {"shard": "7"}
    assert end["executor"]


def test_messages_are_keyed_by_the_job(events: Topic) -> None:
    with jobtrail.job("MoviePageJob", job_id="page-1"):
        pass
    jobtrail.flush(30)
    assert [key for key, _ in events.messages()] == ["page-1", "page-1"]


def test_root_names_itself_and_a_nested_job_is_its_child(events: Topic) -> None:
    with jobtrail.job("SyncJob", job_id="sync", source="kino"), jobtrail.job("PageJob", job_id="page"):
        with jobtrail.job("DetailJob", job_id="detail"):
            pass
        with jobtrail.job("Elsewhere", job_id="elsewhere", parent=""):
            pass
    assert jobtrail.current() is None
    found = those(events.read(), state="completed")
    assert {
        event["job_id"]: (event["parent_job_id"], event["root_job_id"], event["depth"]) for event in found
    } == {
        "sync": ("", "sync", 0),
        "page": ("sync", "sync", 1),
        "detail": ("page", "sync", 2),
        "elsewhere": ("", "elsewhere", 0),
    }
    assert only(found, job_id="detail")["source"] == "kino"


def test_exception_propagates_unchanged_and_is_final_when_no_attempt_is_left(events: Topic) -> None:
    failure = ValueError("no rows")
    for attempt in (1, 2):
        with (
            pytest.raises(ValueError) as raised,
            jobtrail.job("PageJob", job_id="page", attempt=attempt, max_attempts=2),
        ):
            raise failure
        assert raised.value is failure
    found = events.read()
    assert [event["state"] for event in found] == ["executing", "retryable", "executing", "discarded"]
    assert found[3]["error"]["category"] == "invalid_data"
    assert found[3]["error"]["type"] == "ValueError"
    assert found[3]["error"]["message"] == "no rows"


@pytest.mark.parametrize(
    ("failure", "state"),
    [
        (jobtrail.Discard("gone", category="gone"), "discarded"),
        (jobtrail.Retry("later", category="later"), "retryable"),
        (jobtrail.Cancel("not wanted"), "cancelled"),
        (KeyboardInterrupt(), "cancelled"),
        (SystemExit(1), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_outcomes_by_exception(events: Topic, failure: BaseException, state: str) -> None:
    attempts_left = state == "discarded"
    with (
        pytest.raises(type(failure)),
        jobtrail.job("PageJob", attempt=1, max_attempts=3 if attempts_left else 1),
    ):
        raise failure
    end = events.read()[-1]
    assert end["state"] == state
    if isinstance(failure, jobtrail.Discard):
        assert end["error"]["category"] == "gone"


def test_job_can_set_its_own_outcome(events: Topic) -> None:
    with jobtrail.job("PageJob", job_id="a", max_attempts=3) as job:
        job.discard("movie_not_ready", "film 4711 has no details")
    with jobtrail.job("PageJob", job_id="b") as job:
        job.retry("timeout")
    with jobtrail.job("PageJob", job_id="c") as job:
        job.cancel("superseded")
    found = events.read()
    discarded = only(found, job_id="a", state="discarded")
    assert discarded["error"]["category"] == "movie_not_ready"
    assert discarded["error"]["origin"].endswith(":test_job_can_set_its_own_outcome")
    assert only(found, job_id="b", state="retryable")
    assert only(found, job_id="c", state="cancelled")["error"]["message"] == "superseded"


def test_expected_children_are_published_at_once_and_repeated_at_the_end(events: Topic) -> None:
    with jobtrail.job("SyncJob", expect={"LogJob": 1}):
        jobtrail.expect("MoviePageJob", 108)
        published = events.read()
        assert [event["expected_children"] for event in published] == [{"LogJob": 1}, {"MoviePageJob": 108}]
        assert published[0]["occurred_at"] == published[1]["occurred_at"] == published[1]["started_at"]
        assert published[1]["state"] == "executing"
    assert events.read()[-1]["expected_children"] == {"LogJob": 1, "MoviePageJob": 108}


def test_expect_outside_a_job_is_ignored(events: Topic) -> None:
    jobtrail.expect("MoviePageJob", 108)
    assert events.read() == []


def test_headers_carry_lineage_and_times_through_a_queue(events: Topic) -> None:
    due = datetime.now(UTC) + timedelta(hours=1)
    with jobtrail.job("SyncJob", job_id="sync", source="kino"):
        headers = jobtrail.enqueued(
            "PageJob",
            job_id="page",
            queue="scraping",
            external_id="movie:1",
            scheduled_at=due,
            args=[1],
            max_attempts=3,
        )
    with jobtrail.job(headers=headers) as job, jobtrail.job("DetailJob", job_id="detail"):
        assert (job.worker, job.attempt) == ("PageJob", 1)
    found = events.read()
    waiting, end = only(found, state="scheduled"), only(found, job_id="page", state="completed")
    names = (
        "worker",
        "queue",
        "source",
        "external_id",
        "parent_job_id",
        "root_job_id",
        "depth",
        "enqueued_at",
    )
    for name in (*names, "scheduled_at", "max_attempts", "attempt"):
        assert waiting[name] == end[name], name
    assert end["scheduled_at"] == int(due.timestamp() * 1_000_000)
    assert (end["parent_job_id"], end["root_job_id"], end["depth"]) == ("sync", "sync", 1)
    detail = only(found, job_id="detail", state="completed")
    assert (detail["parent_job_id"], detail["root_job_id"], detail["depth"]) == ("page", "sync", 2)
    assert (waiting["args"], end["args"]) == ("[1]", "")


def test_headers_carry_lineage_into_another_process(events: Topic) -> None:
    with jobtrail.job("SyncJob", job_id="sync"):
        headers = jobtrail.enqueued("PageJob", job_id="page")
    program = "import sys, jobtrail\nwith jobtrail.job('PageJob', headers={'jobtrail': sys.argv[1]}): pass\n"
    environment = {
        "JOBTRAIL_PULSAR_URL": events.url,
        "JOBTRAIL_TOPIC": events.name,
        "PYTHONPATH": ":".join(sys.path),
    }
    subprocess.run(
        [sys.executable, "-c", program, headers["jobtrail"]], env=environment, check=True, timeout=60
    )
    end = only(events.read(), job_id="page", state="completed")
    assert (end["namespace"], end["parent_job_id"], end["root_job_id"]) == ("tests", "sync", "sync")


def test_requeued_job_waits_for_its_next_attempt(events: Topic) -> None:
    def run(job: jobtrail.Job) -> None:
        waiting.update(job.requeued())
        raise OSError("away")

    waiting: dict[str, str] = {}
    with pytest.raises(OSError), jobtrail.job("PageJob", job_id="page", queue="q", max_attempts=2) as job:
        run(job)
    with jobtrail.job(headers=waiting):
        pass
    states = [(event["attempt"], event["state"]) for event in events.read()]
    assert states == [
        (1, "executing"),
        (2, "available"),
        (1, "retryable"),
        (2, "executing"),
        (2, "completed"),
    ]


def test_job_entered_again_is_its_next_attempt(events: Topic) -> None:
    job = jobtrail.job("PageJob", max_attempts=2)
    with pytest.raises(OSError), job:
        raise OSError("away")
    with job:
        pass
    states = [(event["attempt"], event["state"]) for event in events.read()]
    assert states == [(1, "executing"), (1, "retryable"), (2, "executing"), (2, "completed")]


def test_each_call_of_a_decorated_function_is_a_job(events: Topic) -> None:
    @jobtrail.job(queue="scraping", external_id=lambda movie, **_: f"movie:{movie}", args=True)
    def import_movie(movie: int, *, token: str) -> int:
        """Import one."""
        return movie + 1

    assert import_movie(1, token="x") == 2
    headers = jobtrail.enqueued("Import", job_id="given")
    assert import_movie(2, token="x", jobtrail_headers=headers) == 3  # type: ignore[call-arg]  # taken by the decorator
    assert import_movie.__doc__ == "Import one."
    found = events.read()
    first = those(found, state="executing")[0]
    assert first["worker"].endswith("import_movie")
    assert (first["external_id"], first["args"]) == ("movie:1", '{"movie": 1, "token": "[redacted]"}')
    assert only(found, job_id="given", state="completed")["external_id"] == "movie:2"


def test_bare_decorator_and_coroutine_function(events: Topic) -> None:
    @jobtrail.job
    async def fetch() -> str:
        async with jobtrail.job("Inner", job_id="inner"):
            await asyncio.sleep(0)
        return "done"

    assert asyncio.run(fetch()) == "done"
    found = events.read()
    outer = next(event for event in found if event["worker"].endswith("fetch"))
    assert only(found, job_id="inner", state="completed")["parent_job_id"] == outer["job_id"]


def test_generator_function_is_refused_when_decorated() -> None:
    def pages() -> object:
        yield 1

    with pytest.raises(TypeError, match="generator function"):
        jobtrail.job("Pages")(pages)


def test_asyncio_tasks_inherit_the_job_and_do_not_mix(events: Topic) -> None:
    async def child(name: str) -> None:
        with jobtrail.job("Child", job_id=f"child-{name}"):
            await asyncio.sleep(0.01)

    async def parent(name: str) -> None:
        with jobtrail.job("Parent", job_id=name):
            await asyncio.gather(asyncio.create_task(child(name)), child(f"{name}-direct"))

    async def both() -> None:
        await asyncio.gather(parent("a"), parent("b"))

    asyncio.run(both())
    parents = {
        event["job_id"]: event["parent_job_id"] for event in events.read() if event["worker"] == "Child"
    }
    assert parents == {"child-a": "a", "child-a-direct": "a", "child-b": "b", "child-b-direct": "b"}


def test_cancelled_task_is_cancelled(events: Topic) -> None:
    async def run() -> None:
        async def slow() -> None:
            async with jobtrail.job("Slow"):
                await asyncio.sleep(60)

        task = asyncio.create_task(slow())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(run())
    assert [event["state"] for event in events.read()] == ["executing", "cancelled"]


def test_wrapped_function_carries_the_job_into_a_thread_pool(events: Topic) -> None:
    def fetch(number: int) -> None:
        with jobtrail.job("Fetch", job_id=f"fetch-{number}"):
            pass

    with concurrent.futures.ThreadPoolExecutor(4) as pool, jobtrail.job("SyncJob", job_id="sync"):
        list(pool.map(jobtrail.wrap(fetch), range(8)))
        pool.submit(fetch, 99).result()
    parents = {
        event["job_id"]: event["parent_job_id"] for event in events.read() if event["worker"] == "Fetch"
    }
    assert parents == {**{f"fetch-{number}": "sync" for number in range(8)}, "fetch-99": ""}


def test_threads_do_not_see_each_others_jobs(events: Topic) -> None:
    barrier = threading.Barrier(4)

    def run(name: str) -> None:
        with jobtrail.job("Outer", job_id=name):
            barrier.wait(10)
            with jobtrail.job("Inner", job_id=f"{name}-inner"):
                barrier.wait(10)

    threads = [threading.Thread(target=run, args=(str(number),)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    parents = {
        event["job_id"]: event["parent_job_id"] for event in events.read() if event["worker"] == "Inner"
    }
    assert parents == {f"{number}-inner": str(number) for number in range(4)}
