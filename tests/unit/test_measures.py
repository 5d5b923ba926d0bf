"""Counts of events, and limits of their labels: the pure part of the metrics consumer."""

import re
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from consumers.aggregator.self_metrics import AggregatorMetrics
from consumers.metrics.label_values import OTHER, LabelValues
from consumers.metrics.measures import US, measure
from consumers.metrics.page import TallyCollector
from consumers.metrics.self_metrics import ServiceMetrics
from consumers.metrics.tally import Tally
from schemas.contract import SCHEMA_TEXT, Event
from schemas.decode import decoder
from schemas.errors import SettingsError
from settings.metrics import MetricsSettings
from testing.impossible_times import IMPOSSIBLE_TIMES
from testing.topics import encode

METRICS_PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NOW = 1_790_000_000.0


def event(state: str = "completed", ago: float = 1.0, **fields: Any) -> Event:
    """Return a valid event that occurred this many seconds ago."""
    values = {
        "namespace": "cinegraph-test",
        "job_id": "1",
        "worker": "MoviePageJob",
        "queue": "scraping",
        "source": "kino-krakow",
        "attempt": 1,
        **fields,
    }
    return Event(state=state, occurred_at=round((NOW - ago) * US), **values)


def tally_of(*events: Event, **settings: Any) -> Tally:
    tally = Tally(MetricsSettings.load(**settings), clock=lambda: NOW)
    tally.add(measure(events, tally.slot_seconds))
    return tally


def page(tally: Tally) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Return the values that Prometheus would read, by sample and labels."""
    registry = CollectorRegistry()
    registry.register(TallyCollector(tally))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
    }


def value(tally: Tally, name: str, **labels: str) -> float | None:
    """Return the sum of a metric's samples with these labels; None when there is none."""
    found = [
        number for (sample, has), number in page(tally).items() if sample == name and labels.items() <= has
    ]
    return sum(found) if found else None


STORY = [
    *[event("completed") for _ in range(5)],
    *[event("retryable", error={"category": "timeout"}) for _ in range(3)],
    event("discarded", error={"category": "movie_not_ready"}),
    event("discarded"),
    event("cancelled"),
    event("available"),
    event("executing"),
]


def test_only_events_that_end_an_attempt_count_as_attempts() -> None:
    tally = tally_of(*STORY)
    outcomes = {
        outcome: value(tally, "jobtrail_attempts_total", outcome=outcome)
        for outcome in ("completed", "retryable", "discarded", "cancelled", "available")
    }
    assert outcomes == {
        "completed": 5,
        "retryable": 3,
        "discarded": 2,
        "cancelled": 1,
        "available": None,
    }
    assert value(tally, "jobtrail_events_total") == len(STORY)


def test_failures_are_counted_by_category_which_is_empty_without_an_error() -> None:
    tally = tally_of(*STORY)
    assert value(tally, "jobtrail_failures_total", category="timeout") == 3
    assert value(tally, "jobtrail_failures_total", category="movie_not_ready") == 1
    assert value(tally, "jobtrail_failures_total") == 5


def test_attempts_and_jobs_have_separate_success_ratios() -> None:
    """Attempts: 5 of 5 + 3 + 2. Jobs: 5 of 5 + 2. Cancelled ones count as neither."""
    tally = tally_of(*STORY)
    for window in ("5m", "1h", "24h"):
        where = {"source": "kino-krakow", "window": window}
        assert value(tally, "jobtrail_window_attempts", outcome="succeeded", **where) == 5
        assert value(tally, "jobtrail_window_attempts", outcome="failed", **where) == 5
        assert value(tally, "jobtrail_window_jobs", outcome="failed", **where) == 2
        assert value(tally, "jobtrail_window_success_ratio", of="attempts", **where) == 0.5
        assert value(tally, "jobtrail_window_success_ratio", of="jobs", **where) == pytest.approx(5 / 7)


def test_windows_count_only_what_occurred_in_them() -> None:
    """The event's time counts: an import of yesterday's jobs counts as attempts, but in no window of today."""
    tally = tally_of(*(event(ago=ago) for ago in (10, 1_000, 10_000, 100_000)))
    shown = {
        window: value(tally, "jobtrail_window_attempts", window=window, outcome="succeeded")
        for window in ("5m", "1h", "24h")
    }
    assert shown == {"5m": 1, "1h": 2, "24h": 3}
    assert value(tally, "jobtrail_attempts_total") == 4
    assert value(tally, "jobtrail_events_outside_windows_total", reason="too_old") == 1


def test_windows_move_when_nothing_arrives() -> None:
    """Windows are computed at the scrape; a ratio without attempts is not shown."""
    now = NOW
    tally = Tally(MetricsSettings.load(), clock=lambda: now)
    tally.add(measure([event()], tally.slot_seconds))
    now += 400
    assert value(tally, "jobtrail_window_attempts", window="5m") == 0
    assert value(tally, "jobtrail_window_success_ratio", window="5m") is None
    assert value(tally, "jobtrail_window_attempts", window="1h") == 1


def test_events_far_ahead_of_our_clock_are_in_no_window_and_never_will_be() -> None:
    """They still count as attempts. Events within the tolerance wait for their time."""
    now = NOW
    tally = Tally(MetricsSettings.load(), clock=lambda: now)
    tally.add(measure([event(ago=-30), event(ago=-3_000)], tally.slot_seconds))
    assert value(tally, "jobtrail_attempts_total") == 2
    assert value(tally, "jobtrail_events_outside_windows_total", reason="in_the_future") == 1
    assert value(tally, "jobtrail_window_attempts", window="5m", outcome="succeeded") is None
    now += 35
    assert value(tally, "jobtrail_window_attempts", window="5m", outcome="succeeded") == 1
    now += 2_965
    assert value(tally, "jobtrail_window_attempts", window="5m", outcome="succeeded") == 0


def test_after_a_restart_the_windows_show_how_much_of_them_is_covered() -> None:
    now = NOW
    tally = Tally(MetricsSettings.load(), clock=lambda: now)
    now += 600
    covered = {
        window: value(tally, "jobtrail_window_covered_seconds", window=window)
        for window in ("5m", "1h", "24h")
    }
    assert covered == {"5m": 300, "1h": 600, "24h": 600}


def test_durations_are_from_start_to_end_and_impossible_ones_are_only_counted() -> None:
    """Four attempts: one of 2 s, one without a start, one that ended before it began, one of a year."""
    second = US
    at = event().occurred_at
    tally = tally_of(
        event(started_at=at - 2 * second),
        event(),
        event(started_at=at + 5 * second),
        event(started_at=at - 365 * 86_400 * second),
    )
    assert value(tally, "jobtrail_attempt_duration_seconds_count") == 1
    assert value(tally, "jobtrail_attempt_duration_seconds_sum") == 2
    assert value(tally, "jobtrail_attempt_duration_seconds_bucket", le="1.0") == 0
    assert value(tally, "jobtrail_attempt_duration_seconds_bucket", le="2.5") == 1
    assert value(tally, "jobtrail_attempt_duration_seconds_bucket", le="+Inf") == 1
    assert value(tally, "jobtrail_implausible_times_total", measure="duration", reason="negative") == 1
    assert value(tally, "jobtrail_implausible_times_total", measure="duration", reason="too_long") == 1


def test_the_wait_in_a_queue_is_from_when_the_job_could_have_run() -> None:
    """It starts at the later of enqueued and scheduled. Only first attempts count: a retry's pause is intended."""
    at = event().occurred_at
    first: dict[str, Any] = {"enqueued_at": at - 100 * US, "started_at": at - 10 * US}
    tally = tally_of(
        event(**first),
        event(**first, scheduled_at=at - 40 * US),
        event(**first, attempt=2),
        event(enqueued_at=at - 100 * US),
    )
    assert value(tally, "jobtrail_queue_wait_seconds_count", queue="scraping") == 2
    assert value(tally, "jobtrail_queue_wait_seconds_sum", queue="scraping") == 90 + 30


@pytest.mark.parametrize("wrong", IMPOSSIBLE_TIMES.values(), ids=IMPOSSIBLE_TIMES)
def test_an_impossible_time_is_in_no_histogram_and_is_counted(wrong: Callable[[int], int]) -> None:
    """It is tried as the start, as the time of enqueueing, and as both times from which a job could have run."""
    at = event().occurred_at
    impossible = wrong(at)
    started: dict[str, Any] = {"started_at": at - 10 * US}
    for enqueued_at in (at - 20 * US, impossible):
        tally = tally_of(event(started_at=impossible, enqueued_at=enqueued_at, scheduled_at=enqueued_at))
        assert value(tally, "jobtrail_attempt_duration_seconds_count") is None
        assert value(tally, "jobtrail_queue_wait_seconds_count") is None
    cases: list[tuple[dict[str, Any], int | None]] = [
        ({"enqueued_at": impossible}, None),
        ({"enqueued_at": impossible, "scheduled_at": impossible}, None),
        ({"enqueued_at": impossible, "scheduled_at": at - 40 * US}, 30),
        ({"enqueued_at": at - 40 * US, "scheduled_at": impossible}, 30),
    ]
    for fields, wait in cases:
        tally = tally_of(event(**started, **fields))
        assert value(tally, "jobtrail_attempt_duration_seconds_sum") == 10
        assert value(tally, "jobtrail_queue_wait_seconds_sum") == wait
        counted = sum(
            value(tally, "jobtrail_implausible_times_total", measure="queue_wait", reason=reason) or 0
            for reason in ("negative", "too_long")
        )
        assert counted == (wait is None)


def test_a_job_that_began_a_little_before_it_was_enqueued_did_not_wait() -> None:
    """The clocks of two hosts differ, but not by an hour."""
    started = event().occurred_at - 10 * US
    tally = tally_of(
        event(started_at=started, enqueued_at=started + 2_000),
        event(started_at=started, enqueued_at=started + 3_600 * US),
    )
    assert value(tally, "jobtrail_queue_wait_seconds_count") == 1
    assert value(tally, "jobtrail_queue_wait_seconds_sum") == 0
    assert value(tally, "jobtrail_implausible_times_total", measure="queue_wait", reason="negative") == 1


def test_a_failed_attempt_waited_from_when_it_was_enqueued_not_from_when_it_runs_again() -> None:
    at = event().occurred_at
    retry = event("retryable", enqueued_at=at - 30 * US, started_at=at - 10 * US, scheduled_at=at + 600 * US)
    assert value(tally_of(retry), "jobtrail_queue_wait_seconds_sum") == 20


def test_the_delay_of_events_starts_when_they_occurred() -> None:
    tally = tally_of(event(ago=0.2), event("available", ago=20), event(ago=-5), event(ago=10**6))
    assert value(tally, "jobtrail_event_delay_seconds_count") == 3
    assert value(tally, "jobtrail_event_delay_seconds_sum") == pytest.approx(20.2)


def test_a_label_has_a_limited_number_of_values_and_the_rest_are_other() -> None:
    """First come, first shown. Totals stay right, and hidden values are counted."""
    tally = tally_of(
        *(event(source=f"source-{number}", job_id=f"{number}") for number in range(10)), metrics_sources=3
    )
    by_source = Counter[str]()
    for (namespace, source, *_), count in tally.attempts.values.items():
        assert namespace == "cinegraph-test"
        by_source[source] += count
    assert by_source == {"source-0": 1, "source-1": 1, "source-2": 1, OTHER: 7}
    assert value(tally, "jobtrail_label_values_over_limit_total", label="source") == 7
    assert value(tally, "jobtrail_window_attempts", window="5m", source=OTHER, outcome="succeeded") == 7


def test_a_label_value_is_shown_the_same_while_the_process_lives() -> None:
    values = LabelValues(2, 100)
    assert [values.show(value) for value in ("a", "b", "c", "a", "c", "b")] == [
        "a",
        "b",
        OTHER,
        "a",
        OTHER,
        "b",
    ]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", ""),
        ("kino-krakow", "kino-krakow"),
        ("Żółw 映画", "Żółw 映画"),
        ("x" * 30, "x" * 19 + "…"),
        ('"} 1\nfake_total{a="b', '"} 1�fake_total{a="b'),
        ("\x1b[2Jred", "�[2Jred"),
        ("\u202egnp.exe", "�gnp.exe"),
        ("other", "other"),
    ],
)
def test_a_label_value_is_short_and_harmless(value: str, shown: str) -> None:
    assert LabelValues(10, 20).show(value) == shown


def test_a_hostile_value_cannot_add_a_line() -> None:
    """The page can be read back unchanged, with any characters in the value."""
    hostile = 'a"} 1\n\\jobtrail_fake_total{x="\\'
    tally = tally_of(event(source=hostile, worker=hostile, queue=hostile))
    (labels,) = [dict(has) for name, has in page(tally) if name == "jobtrail_attempts_total"]
    assert labels["source"] == hostile.replace("\n", "�")
    assert not any("fake" in name for name, _ in page(tally))


def test_no_input_makes_more_series_than_documented() -> None:
    """20,000 attempts with thousands of label sets, and with more values than allowed."""
    limits = {
        "metrics_namespaces": 4,
        "metrics_sources": 20,
        "metrics_workers": 20,
        "metrics_queues": 20,
        "metrics_categories": 20,
        "metrics_counter_sets": 100,
        "metrics_histogram_sets": 30,
        "metrics_window_sets": 40,
    }
    states = ("completed", "retryable", "discarded", "cancelled")
    at = event().occurred_at
    tally = tally_of(
        *(
            event(
                states[number % 4],
                namespace=f"n{number % 7}",
                source=f"s{number % 31}",
                worker=f"w{number // 31 % 29}",
                queue=f"q{number // 3 % 23}",
                error={"category": f"c{number // 11 % 37}"},
                started_at=at - US,
                enqueued_at=at - 2 * US,
            )
            for number in range(20_000)
        ),
        **limits,
    )
    namespaces = 4 + 1  # and `other`
    bounds = {
        "jobtrail_events_total": namespaces * 8,
        "jobtrail_attempts_total": 100 + namespaces * 4,
        "jobtrail_failures_total": 100 + namespaces,
        "jobtrail_attempt_duration_seconds": 17 * (30 + namespaces * 4),
        "jobtrail_queue_wait_seconds": 17 * (30 + namespaces),
        "jobtrail_window": 18 * (40 + namespaces) + 3,
    }
    shown = page(tally)
    for name, most in bounds.items():
        found = sum(sample.startswith(name) for sample, _ in shown)
        assert 0 < found <= most, f"{found} series of {name}, at most {most} are documented"
    totals = {
        name: sum(number for (sample, _), number in shown.items() if sample == name)
        for name in (
            "jobtrail_attempts_total",
            "jobtrail_failures_total",
            "jobtrail_attempt_duration_seconds_count",
        )
    }
    assert list(totals.values()) == [20_000, 10_000, 20_000]
    assert sum(tally.windows()["5m"].values()) == 15_000
    assert all(tally.values_over_limit.values())
    over = tally.sets_over_limit()
    assert {metric for metric, count in over.items() if not count} == {"jobtrail_events"}


def test_counting_costs_a_fraction_of_decoding() -> None:
    """Otherwise the metrics consumer would not be faster than the aggregator, which also folds and writes."""
    decode = decoder(SCHEMA_TEXT)
    payloads = [
        encode(
            event(
                state, job_id=str(number), source=f"source-{number % 20}", started_at=round(NOW) * US
            )._asdict()
        )
        for number in range(500)
        for state in ("executing", "completed")
    ]
    tally = Tally(MetricsSettings.load(), clock=lambda: NOW)
    decoding, counting = [], []
    for _ in range(5):
        start = time.process_time()
        events = [decode(payload) for payload in payloads]
        decoded = time.process_time()
        tally.add(measure(events, tally.slot_seconds))
        decoding.append(decoded - start)
        counting.append(time.process_time() - decoded)
    assert min(counting) < min(decoding) / 2


@pytest.mark.parametrize("windows", [("5",), ("0m",), ("8d",), ("5m", "5m"), ("-5m",), ("٥m",), ()])
def test_an_invalid_window_is_refused_at_start(windows: tuple[str, ...]) -> None:
    with pytest.raises(SettingsError, match="JOBTRAIL_METRICS_WINDOWS"):
        MetricsSettings.load(metrics_windows=windows)


def test_every_metric_of_both_services_is_documented_and_no_other_is() -> None:
    """Name, type and labels are compared."""
    registry = CollectorRegistry()
    registry.register(
        TallyCollector(
            tally_of(*STORY, event(started_at=round(NOW - 9) * US, enqueued_at=round(NOW - 10) * US))
        )
    )
    ServiceMetrics(registry)
    shown = {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            {
                label
                for sample in family.samples
                if not sample.name.endswith("_created")
                for label in sample.labels
                if label != "le"
            },
        )
        for family in (*registry.collect(), *AggregatorMetrics().registry.collect())
        if family.name.startswith("jobtrail_")
    }
    for name in ("jobtrail_undecodable_events_total", "jobtrail_aggregator_dead_letters_total"):
        shown[name] = ("counter", {"reason"})  # without a sample until there is a reason
    rows = re.findall(
        r"^\| `(jobtrail_\w+)` \| (\w+) \| ([\w, ]*) ?\|", METRICS_PAGE.read_text(), re.MULTILINE
    )
    documented = {
        name: (kind, {label for label in labels.strip().split(", ") if label}) for name, kind, labels in rows
    }
    assert documented == shown
    assert len(rows) == len(documented), "no metric twice"
