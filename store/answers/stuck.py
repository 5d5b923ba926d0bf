"""The rule of "stuck" and "lost": a pure function of what a stage's jobs say, and of when one asks.

A stage is **stuck** when jobs of it wait, none executes, and none has started or ended for longer than its own pace
explains. Jobs that arrive are no movement: a stage that only grows is no less stuck.

* *Waiting*: available, retryable or suspended, or scheduled for a time that has come. Not one scheduled for later, and
  not one with a dependency that is still to finish: it waits rightly, and the stage that holds it up is the one to see.
* *Lost*: executing for more than ten times as long as the longest job of its stage took (and never under a floor; where
  no job of the stage ever ended, a day). Its worker was killed and nobody will say so: it does not count as executing.
* *Own pace*: three times the stage's usual (95th percentile) time between two movements, or its usual wait in the
  queue if that is more, and never under a floor.
* *Since*: the last movement, or the moment the oldest waiting job began to wait, if that came later.
"""

from dataclasses import dataclass
from datetime import datetime

LOST_FACTOR = 10
PACE_FACTOR = 3


@dataclass(frozen=True)
class StuckRule:
    """The floors, in seconds (settings/answers.py says what they mean)."""

    floor_seconds: float = 300.0
    lost_floor_seconds: float = 3_600.0
    lost_without_history_seconds: float = 86_400.0


@dataclass(frozen=True)
class StageFacts:
    """What the rule needs to know of one stage; None where no job tells. Knowing its pace can only acquit it."""

    waiting: int
    oldest_waiting_at: datetime | None
    executing: int
    newest_execution_at: datetime | None
    last_movement_at: datetime | None
    longest_execution_seconds: float | None
    usual_gap_seconds: float | None = None
    usual_wait_seconds: float | None = None


@dataclass(frozen=True)
class Stuck:
    """The verdict. ``executing`` counts the jobs that truly execute, so it is 0; ``lost`` those that only say so."""

    since: datetime
    for_seconds: float
    waiting: int
    executing: int
    lost: int
    rule: str


def judge(facts: StageFacts, now: datetime, rule: StuckRule) -> Stuck | None:
    """Whether the stage is stuck at ``now``; None if it is not."""
    if facts.waiting == 0 or facts.oldest_waiting_at is None:
        return None
    if facts.newest_execution_at is not None and not _is_lost(facts, facts.newest_execution_at, now, rule):
        return None
    since = max(facts.oldest_waiting_at, facts.last_movement_at or facts.oldest_waiting_at)
    for_seconds = (now - since).total_seconds()
    explained = _explained_seconds(facts, rule)
    if for_seconds <= explained:
        return None
    executing = f"none executing ({facts.executing} lost)" if facts.executing else "none executing"
    return Stuck(
        since=since,
        for_seconds=for_seconds,
        waiting=facts.waiting,
        executing=0,
        lost=facts.executing,
        rule=(
            f"{facts.waiting} waiting, {executing}, no change for {duration(for_seconds)} "
            f"(its pace explains {duration(explained)})"
        ),
    )


def duration(seconds: float) -> str:
    """A duration as people say it, cut to its greatest unit: 45 s, 6 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= (2 * size if unit != "min" else size):
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"


def _is_lost(facts: StageFacts, execution_at: datetime, now: datetime, rule: StuckRule) -> bool:
    """Of the newest execution: when that one is lost, all older ones are."""
    if facts.longest_execution_seconds is None:
        allowed = max(rule.lost_floor_seconds, rule.lost_without_history_seconds)
    else:
        allowed = max(rule.lost_floor_seconds, LOST_FACTOR * facts.longest_execution_seconds)
    return (now - execution_at).total_seconds() > allowed


def _explained_seconds(facts: StageFacts, rule: StuckRule) -> float:
    usual = max(facts.usual_gap_seconds or 0.0, facts.usual_wait_seconds or 0.0)
    return max(rule.floor_seconds, PACE_FACTOR * usual)
