"""The scenarios of a run: the long form's, the short form's, and the control runs with the law broken on purpose."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from tests.faults.plan import STEPS, Plan, plan
from tests.law.breaks import BREAKS, Break

LOCK_SECONDS = 60.0
SHORT_LOCK_SECONDS = 4.0

# How many scenarios of which faults. All together: 250 kills and 20 of each other kind, with some to spare, since a fault
# may come to nothing (a lock that nobody wanted, a cut that no byte came to).
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
"""What the long form promises."""

SHORT: Mapping[str, int] = {
    "killed": len(STEPS),
    **dict.fromkeys(set(LEAST) - {"killed"}, 1),
    "path cut": 2,
}


class Control(NamedTuple):
    """A break of the law, and a scenario that must show it."""

    broken: Break
    plan: Plan


def long_form(seed: int, only: str = "") -> list[Plan]:
    """All scenarios; with ``only`` those whose name matches the pattern, or else those kinds of faults alone."""
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
    """Further scenarios, for the kinds of which so many are lacking."""
    plans = []
    for place, (name, (_, mix)) in enumerate(MIXES.items()):
        chosen = {
            kind: count for kind, count in lacking.items() if kind in mix and (place == 0 or kind != "killed")
        }
        if chosen:
            plans.append(plan(f"more-{name}-{number}", seed, chosen, lock_seconds=LOCK_SECONDS))
    return plans


def short_form(seed: int, *, with_small_disk: bool) -> Plan:
    """Every kind of fault once, and a kill at each step, in one scenario."""
    mix = {kind: count for kind, count in sorted(SHORT.items()) if with_small_disk or kind != "disk full"}
    return plan("short", seed, mix, lock_seconds=SHORT_LOCK_SECONDS)


_CONTROLS = (
    "acknowledge before commit",
    "count by message instead of by new row",
    "sums before the rows they sum",
    "commit the rows before their sums",
    "take the first descriptor, in SQL",
    "forget to escape a backslash",
)


def controls(seed: int, only: str = "") -> list[Control]:
    """The breaks that the matrix itself has to catch, each with kills at every step."""
    by_name = {one.name: one for one in BREAKS}
    return [
        Control(
            by_name[name],
            plan(f"control-{number}", seed, {"killed": len(STEPS)}, lock_seconds=SHORT_LOCK_SECONDS),
        )
        for number, name in enumerate(_CONTROLS, 1)
        if not only or re.search(only, f"control-{number}")
    ]
