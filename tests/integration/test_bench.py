"""The benchmarks measure what they claim: generated jobs equal aggregated ones, and each part runs at a small size."""

import contextlib
import json
from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any, cast
from xml.etree import ElementTree

import psycopg
import pytest

from bench import flat_events, metrics, picture, replicas, scale, services, stored
from bench.frame import Aim, Bar, Chart, Options, Result
from bench.stored import IN_ORDER, SCATTERED, Ids, fill, renamed, store, template
from schemas.contract import SCHEMA
from servers.postgres import PostgresServer
from servers.postgres_programs import NEWEST
from servers.pulsar import OwnPulsar, Pulsar
from testing.databases import Databases
from testing.machine import machine
from testing.workload import recent_start_us
from tests.law.tables import difference, read_tables


@pytest.mark.parametrize("ids", [IN_ORDER, SCATTERED], ids=lambda ids: ids.name)
def test_generated_rows_are_as_if_they_had_been_aggregated(
    databases_of: Callable[[int], Databases], ids: Ids
) -> None:
    """Every row of every table is compared, for 12 copies of 50 jobs."""
    jobs, copies = 50, 12
    start_us = recent_start_us()
    with databases_of(NEWEST).migrated() as filled, databases_of(NEWEST).migrated() as aggregated:
        fill(filled, jobs * copies, ids, start_us, template_jobs=jobs)
        store(
            aggregated,
            chain.from_iterable(
                renamed(template(start_us, jobs), ids, copy * jobs) for copy in range(copies)
            ),
        )
        with psycopg.connect(filled) as one, psycopg.connect(aggregated) as other:
            expected, found = read_tables(other), read_tables(one)
    assert difference(expected, found) == []
    assert found["jobs"].total() == jobs * copies
    assert found["failure_groups"]


def test_the_peer_receives_every_field_of_our_event() -> None:
    """The event is flat: the fields of `error` are beside the others."""
    ours = {field["name"] for field in SCHEMA["fields"]} - {"error"}
    (union,) = [field["type"] for field in SCHEMA["fields"] if field["name"] == "error"]
    assert set(flat_events.COLUMNS) == ours | {f"error_{field['name']}" for field in union[1]["fields"]}


def test_an_aim_shows_whether_it_was_reached() -> None:
    assert Aim("the aggregator", 81_000, 80_000, " events/s").line() == (
        "reached  the aggregator: 81,000 events/s, aim at least 80,000 events/s"
    )
    assert Aim("p99", 0.4, 0.25, " s", at_most=True).line() == "MISSED   p99: 0.40 s, aim at most 0.25 s"


def test_the_picture_is_drawn_from_the_stored_results() -> None:
    """A label with markup stays text; the longest bar has the full length, and the others are in proportion."""
    result = Result(
        "", {}, charts=[Chart("Rates", "events/s", [Bar("a<b>&", 50.0), Bar("other", 200.0, ours=False)])]
    )
    machine = dict.fromkeys(("cores", "memory", "system", "servers", "packages"), "?")
    kept = {"machine": machine, "made_at": "now", "parts": {"one": json.loads(json.dumps(result.as_json()))}}
    root = ElementTree.fromstring(picture.draw(kept))
    widths = [
        float(shape.attrib["width"])
        for shape in root.iter("{http://www.w3.org/2000/svg}rect")
        if shape.attrib["class"] in ("ours", "other")
    ]
    assert widths == [picture.BAR_LENGTH / 4, picture.BAR_LENGTH]
    assert "a<b>&" in [text.text for text in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.fixture
def _tests_servers(pulsar: Pulsar, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the parts use the tests' servers instead of starting their own."""

    @contextlib.contextmanager
    def servers() -> Iterator[services.Servers]:
        yield services.Servers(cast(OwnPulsar, pulsar), postgres)

    for part in (metrics, replicas, scale):
        monkeypatch.setattr(part, "servers", servers)


@pytest.mark.usefixtures("_tests_servers")
def test_the_parts_run_at_a_small_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The numbers mean nothing here; the tables, the data and the picture are complete."""
    monkeypatch.setattr(replicas, "COUNTS", (1, 2))
    monkeypatch.setattr(scale, "SIZES", (2 * stored.TEMPLATE_JOBS // 100,))
    monkeypatch.setattr(scale, "TEMPLATE_JOBS", stored.TEMPLATE_JOBS // 100)
    options = Options(jobs=400, repeats=1)
    found = {part.__name__: part.run(options, print) for part in (metrics, replicas, scale)}
    assert "jobtrail aggregate" in found["bench.metrics"].table
    assert len(found["bench.replicas"].data["fleets"]) == 2
    assert [point["stored_jobs"] for point in found["bench.scale"].data["points"]] == [400, 400]
    parts = {name: json.loads(json.dumps(result.as_json())) for name, result in found.items()}
    kept: dict[str, Any] = {"machine": machine(), "made_at": "now", "parts": parts}
    assert "1 replica" in picture.draw(kept)
