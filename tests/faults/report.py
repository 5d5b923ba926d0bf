"""Writes the report of a run of the matrix: counts by kind and step, losses and double counts, and what they prove."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from tests.faults.plan import STEPS
from tests.faults.scenario import Done, Outcome
from tests.faults.truth import Judgement

CLOCK = "a publisher's clock an hour off"
BACKWARDS = "a slice of events sent in reverse"
DUPLICATE = "an event sent twice"
TIMED_OUT = "a send that got no answer, repeated"

WIDTH = 138
"""The width of a line of prose."""

MARK_BEGIN = "<!-- report of make faults: begin -->"
MARK_END = "<!-- report of make faults: end -->"


def totals(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Count the faults of each kind, without those that had no effect."""
    found: Counter[str] = Counter()
    for one in outcomes:
        found.update(done.kind for done in one.done if done.counts)
        found[CLOCK] += one.published.get("clocks_off", 0)
        found[BACKWARDS] += one.published.get("slices_backwards", 0)
        found[DUPLICATE] += one.published.get("duplicates", 0)
        found[TIMED_OUT] += one.published.get("timed_out", 0)
    return found


def markdown(
    outcomes: Sequence[Outcome],
    controls: Sequence[tuple[str, Outcome]],
    *,
    seed: int,
    machine: Mapping[str, str],
) -> str:
    """Return the report, for docs/faults.md and the terminal."""
    judged = [one.judgement for one in outcomes if one.judgement is not None]
    lines = [
        *wrap(f"Seed {seed}, on {'; '.join(machine.values())}.", WIDTH, break_on_hyphens=False),
        "",
        *wrap(
            f"{len(outcomes)} scenarios, {sum(one.seconds for one in outcomes) / 60:.0f} minutes in all; several ran at once. "
            f"Replicas at the start: {_replicas(outcomes)}.",
            WIDTH,
        ),
        "",
        "| | |",
        "|---|---|",
        f"| distinct messages accepted by the broker or the spool | {sum(one.accepted for one in judged):,} |",
        f"| distinct valid events in the topics | {sum(one.events for one in judged):,} |",
        f"| messages in the topics | {sum(one.messages for one in judged):,} |",
        f"| accepted but missing from the topic | {sum(one.not_in_topic for one in judged):,} |",
        f"| rows compared with the oracle's | {sum(one.rows for one in judged):,} |",
        f"| lost | {sum(one.lost for one in judged):,} |",
        f"| counted twice | {sum(one.double for one in judged):,} |",
        f"| tables that differ | {sum(len(one.tables_different) for one in judged):,} of {8 * len(judged)} |",
        f"| replicas that ended by themselves, and other failures | {sum(len(one.failures) for one in outcomes):,} |",
        "",
        *_kinds(outcomes),
        "",
        *_steps(outcomes),
    ]
    if controls:
        lines += ["", *_controls(controls)]
    lines += _broken(outcomes)
    return "\n".join(lines) + "\n"


def put_between_marks(path: Path, text: str) -> None:
    """Replace the last report in a page with this one."""
    before, _, rest = path.read_text().partition(f"{MARK_BEGIN}\n")
    _, found, after = rest.partition(MARK_END)
    assert found, f"expected {MARK_BEGIN} and {MARK_END} in {path}"
    path.write_text(f"{before}{MARK_BEGIN}\n\n{text}\n{found}{after}")


def bound(times: int) -> str:
    """Return the bound that no harm in ``times`` faults proves, with 95 % confidence ("rule of three"). Three or fewer prove nothing."""
    if times <= 3:
        return "nothing"
    percent = 300 / times
    return f"below {percent:.0f} %" if percent >= 1 else f"below {percent:.2g} %"


def save(outcome: Outcome, path: Path) -> None:
    """Append an outcome to the saved results."""
    judgement = None if outcome.judgement is None else outcome.judgement._asdict()
    record = outcome._asdict() | {"done": [one._asdict() for one in outcome.done], "judgement": judgement}
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")


def load(path: Path) -> list[Outcome]:
    """Return the results saved so far."""
    if not path.exists():
        return []
    return [_outcome(json.loads(line)) for line in path.read_text().splitlines()]


def _outcome(record: dict[str, Any]) -> Outcome:
    judgement = record["judgement"]
    if judgement is not None:
        judgement = Judgement(
            **judgement | {name: tuple(judgement[name]) for name in ("tables_different", "differences")}
        )
    return Outcome(
        **record
        | {
            "done": tuple(Done(**one) for one in record["done"]),
            "failures": tuple(record["failures"]),
            "judgement": judgement,
        }
    )


def _replicas(outcomes: Sequence[Outcome]) -> str:
    counts = Counter(one.replicas for one in outcomes)
    return ", ".join(f"{replicas} ({count} times)" for replicas, count in sorted(counts.items()))


def _kinds(outcomes: Sequence[Outcome]) -> list[str]:
    broken: Counter[str] = Counter()
    for one in outcomes:
        if not one.holds:
            broken.update({done.kind for done in one.done})
    idle = Counter(done.kind for one in outcomes for done in one.done if not done.counts)
    lines = [
        "| fault | times | times without effect | in scenarios that failed | chance of harm per fault (95 % confidence) |",
        "|---|---|---|---|---|",
    ]
    for kind, count in sorted(totals(outcomes).items()):
        harm = bound(count) if not broken[kind] else "see below"
        lines.append(f"| {kind} | {count:,} | {idle[kind] or ''} | {broken[kind]} | {harm} |")
    return lines


def _steps(outcomes: Sequence[Outcome]) -> list[str]:
    met = Counter((done.kind, done.step) for one in outcomes for done in one.done if done.counts)
    kinds = sorted({kind for kind, _ in met})
    steps = (*STEPS, *sorted({step for _, step in met} - set(STEPS)))
    return [
        f"| at the step | {' | '.join(kinds)} |",
        f"|---|{'---|' * len(kinds)}",
        *(f"| {step} | {' | '.join(str(met[kind, step] or '') for kind in kinds)} |" for step in steps),
    ]


def _controls(controls: Sequence[tuple[str, Outcome]]) -> list[str]:
    lines = ["| deliberate break | caught | what differed |", "|---|---|---|"]
    for name, outcome in controls:
        judgement = outcome.judgement
        tables = ", ".join(judgement.tables_different) if judgement else ""
        why = (
            f"{judgement.lost:,} lost, {judgement.double:,} counted twice: {tables}"
            if judgement and tables
            else ""
        )
        why = why or (outcome.failures[0].strip().splitlines()[-1][:120] if outcome.failures else "")
        lines.append(f"| {name} | {'no' if outcome.holds else 'yes'} | {why} |")
    return lines


def _broken(outcomes: Sequence[Outcome]) -> list[str]:
    lines = []
    for one in outcomes:
        if one.holds:
            continue
        lines += ["", f"Failed: {one.name}, seed {one.seed}."]
        differences = one.judgement.differences if one.judgement else ()
        lines += ["", "```", *(text[:2_000] for text in (*one.failures, *differences[:20])), "```"]
    return lines
