"""The law (docs/law.md): what is stored is a function of the *set* of events.

The tables equal the oracle's for any events, in any order, with any duplicates, split into any batches, and written by one
to four concurrent processes that are rolled back or killed at any point, after which the batch is delivered again.

``JOBTRAIL_LAW_EXAMPLES`` sets how many universes are tried on the newest Postgres (default 200; a fourth of them on
the oldest). A failure prints the differing rows and the universe; ``docs/law.md`` explains how to read it.
"""

import os
from pprint import pformat
from typing import Any

import psycopg
from hypothesis import HealthCheck, Phase, given, settings

from servers.postgres_programs import NEWEST
from tests.law import ground
from tests.law.coverage import REPORTS, Coverage
from tests.law.fleet import Fleet
from tests.law.oracle import reused_ids
from tests.law.retention import expected_tables
from tests.law.tables import difference, read_reused_ids, read_tables
from tests.law.universes import Universe, universes
from tests.law.writers import Report

EXAMPLES = int(os.environ.get("JOBTRAIL_LAW_EXAMPLES", "200"))
EXAMPLES_ON_THE_OLDEST = int(os.environ.get("JOBTRAIL_LAW_EXAMPLES_ON_THE_OLDEST", max(EXAMPLES // 4, 1)))
# With fewer examples a rare conflict may be missed by chance, so its absence means nothing.
ENOUGH_TO_DEMAND_COVERAGE = 200
SHRINK = os.environ.get("JOBTRAIL_LAW_SHRINK", "1") != "0"


def test_the_tables_are_a_function_of_the_set_of_events(law_url: str) -> None:
    """The law holds, and the universes of the run met every conflict."""
    with psycopg.connect(law_url, autocommit=True) as connection, Fleet(law_url) as fleet:
        server = connection.info.server_version // 10_000
        examples = EXAMPLES if server == NEWEST else EXAMPLES_ON_THE_OLDEST
        coverage = Coverage(f"the law on Postgres {server} ({ground.collation(connection)})")
        REPORTS.append(coverage)

        @settings(
            max_examples=examples,
            deadline=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
            phases=[
                phase
                for phase in Phase
                if phase is not Phase.explain and (SHRINK or phase is not Phase.shrink)
            ],
        )
        @given(universes())
        def holds(universe: Universe) -> None:
            ground.clean(connection, universe.horizon_us)
            results = fleet.carry_out(universe)
            coverage.add(universe, results)
            coverage.counts.update(fleet.removed)
            fleet.removed.clear()
            _demand_no_failure([report for _, report in results], universe)
            found = read_tables(connection)
            lines = difference(expected_tables(universe, found), found)
            assert not lines, _story(lines, universe)
            if universe.retentions:
                return  # the fields of a job's earlier events may be missing
            kept = [
                event
                for event in universe.events
                if universe.horizon_us is None or event["occurred_at"] >= universe.horizon_us
            ]
            wrong = read_reused_ids(connection) ^ reused_ids(kept)
            assert not wrong, _story([f"has_reused_id is wrong for {wrong}"], universe)

        holds()
        if examples >= ENOUGH_TO_DEMAND_COVERAGE:
            missing = coverage.missing(examples)
            assert not missing, f"the universes of this run never met: {missing}"


def _demand_no_failure(reports: list[Report], universe: Universe) -> None:
    wrong = [
        f"{report.outcome}: {report.detail}" for report in reports if report.outcome in {"error", "deadlock"}
    ]
    assert not wrong, _story(wrong, universe)


def _story(lines: list[str], universe: Universe) -> str:
    """Describe the differences and the universe, without the fields that have their defaults in all of its events."""
    plans, after = (
        [
            [
                (
                    delivery.fault,
                    delivery.step,
                    [_without_defaults(event) for event in delivery.events],
                    delivery.dead_letters,
                )
                for delivery in plan
            ]
            for plan in those
        ]
        for those in (universe.plans, universe.plans_after or ())
    )
    return "\n".join(
        [*lines, "", f"horizon: {universe.horizon_us}, {universe.retentions}", "events:"]
        + [f"  {_without_defaults(event)}" for event in universe.events]
        + ["plans, one for each writer: (fault, step, events, dead letters):", pformat(plans, width=200)]
        + (["after the retention:", pformat(after, width=200)] if universe.plans_after is not None else [])
    )


def _without_defaults(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if value not in ("", 0, -1, [], {}, None)}
