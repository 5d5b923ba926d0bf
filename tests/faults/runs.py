"""The scenarios of a run: those of the long and the short form, and the control runs with deliberate breaks of the law."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.plan import STEPS, Plan, plan
from tests.law.breaks import BREAKS, Break

LOCK_SECONDS = 60.0
SHORT_LOCK_SECONDS = 4.0

# How many scenarios with which faults: in all 250 kills and 20 of each other kind, and some more, because a fault may have
# no effect (a lock for which nobody waited, a cut that no byte reached).
MIXES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "mixed": (
        22,
        {
            "killed": 13,
            "stopped": 1,
            "path stalled": 1,
            "path cut": 2,
            "connections cut": 1,
            "lock held": 1,
            "joins": 1,
            "leaves": 1,
        },
    ),
    "rebuild": (3, {"rebuild killed": 9, "killed": 3, "publisher killed": 1}),
    "servers": (5, {"postgres killed": 5, "broker killed": 5, "killed": 3, "publisher killed": 4}),
    "disk": (4, {"disk full": 6, "killed": 2}),
}
LEAST = {
    "killed": 250,
    **dict.fromkeys(
        (
            *("stopped", "path stalled", "path cut", "connections cut", "lock held", "joins", "leaves"),
            *("postgres killed", "broker killed", "disk full", "rebuild killed", "publisher killed"),
        ),
        20,
    ),
}
"""The counts that the long form promises."""

SHORT: Mapping[str, int] = {
    "killed": len(STEPS),
    **dict.fromkeys(set(LEAST) - {"killed"}, 1),
    "path cut": 2,
}


class Control(NamedTuple):
    """A deliberate break of the law, and a scenario that must catch it."""

    broken: Break
    plan: Plan


def long_form(seed: int, only: str = "") -> list[Plan]:
    """Return all scenarios; with ``only`` those whose name matches the pattern, or else only the kinds of faults that match."""
    plans = []
    for name, (count, mix) in MIXES.items():
        kinds = {kind: each for kind, each in mix.items() if not only or re.search(only, kind)}
        for number in range(1, count + 1):
            title = f"{name}-{number:02}"
            chosen = mix if only and re.search(only, title) else kinds
            if chosen:
                first = number * 5 % len(STEPS)
                plans.append(plan(title, seed, chosen, lock_seconds=LOCK_SECONDS, first_step=first))
    return plans


def more(seed: int, number: int, lacking: Mapping[str, int]) -> list[Plan]:
    """Return further scenarios, with the missing number of each kind."""
    plans = []
    for place, (name, (_, mix)) in enumerate(MIXES.items()):
        chosen = {
            kind: count for kind, count in lacking.items() if kind in mix and (place == 0 or kind != "killed")
        }
        if chosen:
            plans.append(plan(f"more-{name}-{number}", seed, chosen, lock_seconds=LOCK_SECONDS))
    return plans


def short_form(seed: int, *, with_small_disk: bool) -> Plan:
    """Return one scenario with every kind of fault once, and a kill at each step."""
    mix = {kind: count for kind, count in sorted(SHORT.items()) if with_small_disk or kind != "disk full"}
    return plan("short", seed, mix, lock_seconds=SHORT_LOCK_SECONDS)


_CONTROLS = (
    "acknowledge before commit",
    "count by message instead of by new row",
    "aggregates before the rows they count",
    "commit the rows before their aggregates",
    "take the first descriptor, in SQL",
    "forget to escape a backslash",
)


def controls(seed: int, only: str = "") -> list[Control]:
    """Return the breaks that the matrix must catch, each with kills at every step."""
    by_name = {one.name: one for one in BREAKS}
    return [
        Control(
            by_name[name],
            plan(f"control-{number}", seed, {"killed": len(STEPS)}, lock_seconds=SHORT_LOCK_SECONDS),
        )
        for number, name in enumerate(_CONTROLS, 1)
        if not only or re.search(only, f"control-{number}")
    ]
