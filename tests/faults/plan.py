"""Which faults a scenario has, at which steps and in which order: a function of a seed, so that it can be repeated."""

import random
from collections.abc import Mapping
from typing import Final, NamedTuple

from store.steps import Step

STEPS: Final[tuple[str, ...]] = (
    Step.AFTER_RECEIVE.value,
    Step.AFTER_FOLD.value,
    Step.DURING_COPY.value,
    "merge_jobs",
    "merge_edges",
    "merge_attempts",
    "merge_group_jobs",
    "add_to_failure_groups",
    "add_to_failure_groups_hourly",
    "add_to_outcomes_hourly",
    Step.BEFORE_COMMIT.value,
    Step.AFTER_COMMIT.value,
    Step.DURING_ACK.value,
)
"""The steps of a batch at which a fault can happen, in order."""

REBUILD_STEPS: Final[tuple[str, ...]] = (
    Step.BEFORE_START.value,
    Step.STARTED.value,
    Step.LOADING.value,
    Step.LOADED.value,
    Step.INDEXED.value,
    Step.BEFORE_SWAP.value,
    Step.DURING_SWAP.value,
    Step.AFTER_SWAP.value,
    Step.COMPARED.value,
)
"""The steps at which a rebuild is killed, in order; "loading" is in a process of its own."""

REBUILD_KILLED = "rebuild killed"
PUBLISHER_KILLED = "publisher killed"

EXCLUSIVE = frozenset({"postgres killed", "broker killed", "disk full"})
"""Faults of a whole server, which no other scenario may then use."""

MOST_REPLICAS = 4


class Fault(NamedTuple):
    """A fault when a replica reaches ``step`` for the ``nth`` time. ``seconds``: its duration, if it lasts."""

    kind: str
    step: str
    nth: int
    seconds: float
    variant: int
    """Chooses the variant of the kind: which table is locked, which path is cut, after how many bytes."""


class PublisherPlan(NamedTuple):
    """One publisher."""

    clock_seconds: int
    duplicated: float
    backwards: bool


class Plan(NamedTuple):
    """One scenario."""

    name: str
    seed: int
    faults: tuple[Fault, ...]
    publishers: tuple[PublisherPlan, ...]
    replicas: int
    batch_events: int
    settings: Mapping[str, str]
    """Settings of the aggregators, apart from addresses."""

    @property
    def exclusive(self) -> bool:
        """Return whether no other scenario may use the servers meanwhile."""
        return any(fault.kind in EXCLUSIVE for fault in self.faults)

    @property
    def needs_small_disk(self) -> bool:
        """Return whether its Postgres must be on a small file system."""
        return any(fault.kind == "disk full" for fault in self.faults)


def plan(name: str, seed: int, mix: Mapping[str, int], *, lock_seconds: float, first_step: int = 0) -> Plan:
    """Return the scenario of this name and seed, with this number of faults of each kind, in any order.

    Kills take the steps in turn, beginning with number ``first_step``, so that they are evenly spread over all scenarios.
    """
    rng = random.Random(f"{seed}/{name}")
    faults = []
    for kind, count in mix.items():
        for number in range(count):
            if kind == REBUILD_KILLED:
                step = REBUILD_STEPS[(first_step + number) % len(REBUILD_STEPS)]
            elif kind == "killed":
                step = STEPS[(first_step + number) % len(STEPS)]
            else:
                step = rng.choice(STEPS)
            faults.append(
                Fault(
                    kind=kind,
                    step=step,
                    nth=1 if kind == REBUILD_KILLED else rng.choice((1, 1, 1, 2, 3, 5)),
                    seconds=lock_seconds if kind == "lock held" else round(rng.uniform(0.5, 3.0), 1),
                    variant=rng.randrange(1_000_000),
                )
            )
    rng.shuffle(faults)
    count = rng.randint(2, 3)
    clocks = [rng.choice((-3600, 3600)), *(rng.choice((0, 0, -3600, 3600)) for _ in range(count - 1))]
    directions = [True, *(rng.random() < 0.3 for _ in range(count - 1))]
    rng.shuffle(clocks)
    rng.shuffle(directions)
    return Plan(
        name=name,
        seed=seed,
        faults=tuple(faults),
        publishers=tuple(
            PublisherPlan(clock, round(rng.uniform(0.02, 0.15), 2), backwards)
            for clock, backwards in zip(clocks, directions, strict=True)
        ),
        replicas=rng.randint(1, MOST_REPLICAS),
        batch_events=rng.choice((100, 300, 1_000, 10_000)),
        settings={
            "JOBTRAIL_AGGREGATOR_RETRY_LONGEST_SECONDS": "0.5",
            "JOBTRAIL_AGGREGATOR_RECEIVER_QUEUE": rng.choice(("500", "5000", "40000")),
            "JOBTRAIL_DATABASE_LOCK_TIMEOUT_SECONDS": rng.choice(("2", "10", "60")),
            "JOBTRAIL_DATABASE_IDLE_IN_TRANSACTION_SECONDS": rng.choice(("3", "60")),
        },
    )
