"""No value that a job passes makes the SDK raise; values that cannot be used are counted."""

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import jobtrail
from jobtrail import _runtime
from jobtrail._broker import explain
from jobtrail._config import Config
from workers.tests.reading import Topic, only


class Hostile:
    """An object whose string and truth value raise."""

    def __str__(self) -> str:
        raise RuntimeError("no")

    __repr__ = __str__

    def __bool__(self) -> bool:
        raise RuntimeError("no")

    def __len__(self) -> int:
        raise RuntimeError("no")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no")

    __hash__ = None  # type: ignore[assignment]  # unhashable as well


class HostileMapping(Hostile, Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")


ANYTHING = st.sampled_from(
    [Hostile(), HostileMapping(), object(), "\ud800", "a\0b", -1, 10**40, 1.5, b"x", [], None]
)
OPTIONS = st.dictionaries(
    st.sampled_from(
        sorted(jobtrail.JobOptions.__annotations__),
    ),
    ANYTHING,
    max_size=5,
)
SLOW = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)


@SLOW
@given(options=OPTIONS)
def test_job_takes_any_options(unsent: None, options: dict[str, Any]) -> None:
    ran = False
    accepted = jobtrail.stats().accepted
    with jobtrail.job("PageJob", **options) as job:
        job.expect("Child", options.get("expect"))  # type: ignore[arg-type]
        job.requeued(scheduled_at=options.get("scheduled_at"))
        ran = True
    assert ran
    assert jobtrail.current() is None
    # An unusable option loses neither the events nor the other options.
    assert jobtrail.stats().accepted >= accepted + 2
    assert "internal" not in jobtrail.stats().dropped


@SLOW
@given(options=OPTIONS)
def test_decorated_function_takes_any_options(unsent: None, options: dict[str, Any]) -> None:
    assert jobtrail.job("PageJob", **options)(lambda value: value)(7) == 7


@SLOW
@given(options=OPTIONS)
def test_enqueued_takes_any_options(unsent: None, options: dict[str, Any]) -> None:
    options.pop("headers", None)
    assert set(jobtrail.enqueued("PageJob", **options)) == {"jobtrail"}
    assert "internal" not in jobtrail.stats().dropped


@SLOW
@given(
    fields=st.dictionaries(
        st.sampled_from([*jobtrail.JobEvent.__annotations__, "other"]), ANYTHING, max_size=6
    )
)
def test_event_takes_any_fields(unsent: None, fields: dict[str, Any]) -> None:
    before = jobtrail.stats()
    accepted = jobtrail.event(**{"job_id": "1", "worker": "W", "state": "completed", **fields})
    after = jobtrail.stats()
    # The result agrees with the counts: the event is accepted, or dropped for a reason.
    assert after.accepted - before.accepted == int(accepted)
    assert sum(after.dropped.values()) - sum(before.dropped.values()) == int(not accepted)


def test_options_of_a_call_that_fail_are_left_out(events: Topic) -> None:
    def broken(movie: int) -> str:
        raise RuntimeError("no")

    @jobtrail.job("PageJob", external_id=broken, source=lambda movie: "kino")
    def run(movie: int) -> int:
        return movie

    assert run(1) == 1
    assert only(events.read(), state="completed")["source"] == "kino"


@pytest.mark.parametrize("meta", ["x", Hostile(), 7], ids=["text", "hostile", "number"])
def test_meta_that_is_not_a_mapping_is_left_out(events: Topic, meta: Any) -> None:
    with jobtrail.job("PageJob") as job:
        job.meta = meta
    assert only(events.read(), state="completed")["meta"] == {}
    assert jobtrail.stats().dropped == {"left_out": 1}


def test_unusable_environment_variables_do_not_stop_a_job(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, unsent: None
) -> None:
    _runtime._runtime.config = None
    monkeypatch.setenv("JOBTRAIL_QUEUE_MAX_EVENTS", "many")
    monkeypatch.setenv("JOBTRAIL_PULSAR_URL", "http://wrong")
    monkeypatch.setenv("JOBTRAIL_NAMESPACE", "from-the-environment")
    assert _runtime.config().queue_max_events == 10_000
    assert _runtime.config().namespace == "from-the-environment"
    lines = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("JOBTRAIL_QUEUE_MAX_EVENTS is not used") for line in lines)
    assert any(line.startswith("JOBTRAIL_PULSAR_URL is not used") for line in lines)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"namespace": ""}, "namespace is ''"),
        ({"pulsar_url": "localhost:6650"}, "give pulsar://host:6650"),
        ({"topic": "events"}, "give persistent://tenant/namespace/topic"),
        ({"categories": {int: "x"}}, "map exception classes"),
        ({"own_code": "myapp"}, "give a tuple of module names"),
        ({"pulsar_token_file": "/nowhere"}, "give a file that exists"),
        ({"queue_max_events": 0}, "give a number from 1"),
        ({"pulsar": 1}, "no such setting"),
    ],
)
def test_configure_names_setting_value_and_cure(setting: dict[str, Any], message: str) -> None:
    with pytest.raises(jobtrail.ConfigurationError, match=message):
        jobtrail.configure(**setting)


def test_token_is_never_shown() -> None:
    assert "hunter2" not in repr(Config(pulsar_token="hunter2"))


def test_password_in_the_address_of_the_broker_is_never_shown() -> None:
    settings = Config(pulsar_url="pulsar://us:hunter2@127.0.0.1:6650")
    assert "hunter2" not in repr(settings)
    assert "at pulsar://127.0.0.1:6650: " in explain(TimeoutError("too late"), settings)
    with pytest.raises(jobtrail.ConfigurationError, match=r"pulsar_url is 'http://127\.0\.0\.1': give"):
        jobtrail.configure(pulsar_url="http://us:hunter2@127.0.0.1")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"job_id": ""}, "job_id is ''"),
        ({"state": "lost"}, "state is 'lost': give one of suspended"),
        ({"attempt": 0}, "attempt is 0: give an integer from 1"),
        ({"occurred_at": datetime(2026, 1, 1)}, "has no time zone"),  # noqa: DTZ001  # the fault in question
        ({"depends_on": "a"}, "give a list of job ids"),
        ({"meta": 1}, "meta is 1: give a dict"),
        ({"error": {"reason": "x"}}, r"error\['reason'\]: no such field"),
        ({"expected_children": {"A": -1}}, "give an integer from 0"),
        ({"queue": 7}, "queue is 7: expected a string"),
        ({"colour": "red"}, "colour: no such field"),
    ],
)
def test_strict_event_names_field_value_and_cure(unsent: None, fields: dict[str, Any], message: str) -> None:
    whole = {"job_id": "1", "worker": "W", "state": "completed", **fields}
    with pytest.raises(jobtrail.InvalidEvent, match=message):
        jobtrail.event(strict=True, **whole)
    assert jobtrail.event(**whole) is False
    assert jobtrail.stats().dropped == {"invalid": 1}


def test_event_publishes_any_field(events: Topic) -> None:
    wanted = {
        "job_id": "1",
        "worker": "W",
        "queue": "q",
        "state": "discarded",
        "attempt": 3,
        "occurred_at": 5,
        "parent_job_id": "0",
        "root_job_id": "0",
        "depth": 1,
        "depends_on": ["a", "b"],
        "expected_children": {"C": 2},
        "error": {
            "category": "c",
            "type": "t",
            "message": "m",
            "stacktrace": "s",
            "origin": "o",
            "fingerprint": "f",
        },
        "release": "r",
        "executor": "e",
        "meta": {"k": "v"},
    }
    assert jobtrail.event(strict=True, args={"password": "x"}, **wanted)
    (found,) = events.read()
    assert {name: found[name] for name in wanted} == wanted
    assert found["args"] == '{"password": "[redacted]"}'
    assert found["namespace"] == "tests"


def test_dependencies_beyond_the_limit_go_into_further_events(events: Topic) -> None:
    names = [f"job-{number}" for number in range(2_500)]
    jobtrail.event(job_id="1", worker="W", state="executing", depends_on=names)
    found = events.read()
    assert [len(event["depends_on"]) for event in found] == [1_000, 1_000, 500]
    assert [name for event in found for name in event["depends_on"]] == names


def test_job_of_another_namespace_is_not_the_parent(events: Topic) -> None:
    with jobtrail.job("Outer"), jobtrail.job("Inner", namespace="elsewhere", job_id="inner") as inner:
        assert inner.lineage == ("", "inner", 0)
        assert jobtrail.enqueued("Below")
    below = only(events.read(), worker="Below")
    assert (below["namespace"], below["parent_job_id"]) == ("elsewhere", "inner")


def test_clock_set_back_never_ends_a_job_before_it_began(events: Topic) -> None:
    with jobtrail.job("PageJob") as job:
        job.started_at += 3_600_000_000
    end = only(events.read(), state="completed")
    assert end["occurred_at"] == end["started_at"]


def test_many_threads_lose_nothing(events: Topic) -> None:
    def work() -> None:
        for _ in range(200):
            with jobtrail.job("W"):
                pass

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobtrail.flush(30)
    assert jobtrail.stats() == jobtrail.Stats(accepted=3_200, sent=3_200, queued=0, dropped={})
