"""The rule for verdicts: a pure function of what is known about a stage's jobs, and of the time of the query.

Every stage with a job gets **one** verdict, the first of these that holds:

* **stuck**: jobs are ready, none is at work, and none has started or ended for longer than the stage's pace explains.
  New jobs do not count as movement: a stage that only grows is still stuck.
* **lost**: at least one executing job is lost.
* **at work**: a job executes, or jobs are ready and the stage has moved as lately as its pace explains.
* **waiting**: jobs wait, and all of them wait rightly.
* **over**: no job waits or executes.

The words:

* *Ready*: available, retryable, suspended or scheduled, its time has come, and it does not rightly wait for another job.
* *Waiting rightly*: scheduled for a later time, or with a dependency that is known and not over.
* *Lost*: executing for more than ten times as long as the longest job of its kind took, and for longer than a floor; if
  none of its kind is known to have completed, for longer than a day. Its worker was killed, and no event will report it. A
  job is not lost while a job below it is at work or ready, or has changed within that time: it may wait for that job.
* *Its kind*: the jobs of its stage; if fewer than ten of them completed, also those of the same stage of earlier runs.
* *Pace*: three times the stage's usual (95th percentile) time between two movements, or its usual wait in the queue if
  that is more, and at least a floor.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

LOST_FACTOR: Final = 10
PACE_FACTOR: Final = 3

ENOUGH_COMPLETED: Final = 10
"""With at least this many completed jobs, a run alone shows how long its jobs take."""

Name = Literal["stuck", "lost", "at_work", "waiting", "over"]

WORST_FIRST: Final[tuple[Name, ...]] = ("stuck", "lost", "at_work", "waiting", "over")


@dataclass(frozen=True)
class StuckRule:
    """The floors, in seconds; settings/answers.py explains them."""

    floor_seconds: float = 300.0
    lost_floor_seconds: float = 3_600.0
    lost_without_history_seconds: float = 86_400.0


@dataclass(frozen=True)
class Kind:
    """How long jobs of a kind take: the number known to have completed, and the longest duration of all that ended."""

    completed: int = 0
    longest_seconds: float | None = None

    def __add__(self, other: "Kind") -> "Kind":
        known = [seconds for seconds in (self.longest_seconds, other.longest_seconds) if seconds is not None]
        return Kind(self.completed + other.completed, max(known, default=None))

    @property
    def is_known(self) -> bool:
        """Whether any of them completed. A job that failed at once does not show how long the others take."""
        return self.completed > 0


@dataclass(frozen=True)
class StageFacts:
    """What the rule needs to know about one stage; None: not known. A known pace can only clear a stage of being stuck.

    ``waiting`` counts the jobs in a waiting state, ``ready`` the ready ones among them. ``executing`` counts the jobs in
    that state, ``lost`` the lost ones among them.
    """

    ready: int = 0
    oldest_ready_at: datetime | None = None
    waiting: int = 0
    executing: int = 0
    lost: int = 0
    last_movement_at: datetime | None = None
    usual_gap_seconds: float | None = None
    usual_wait_seconds: float | None = None


@dataclass(frozen=True)
class Stuck:
    """Since when and why. ``executing`` counts the jobs at work, so it is 0; ``lost`` those that only have that state."""

    since: datetime
    for_seconds: float
    waiting: int
    executing: int
    lost: int
    rule: str


@dataclass(frozen=True)
class Lost:
    """How many jobs are lost, when the first of them started, and why they count as lost."""

    jobs: int
    since: datetime
    for_seconds: float
    rule: str


@dataclass(frozen=True)
class Verdict:
    """The one verdict on a stage. ``lost`` is also set with ``stuck`` if jobs of a stuck stage are lost."""

    name: Name
    stuck: Stuck | None = None
    lost: Lost | None = None


def judge(facts: StageFacts, now: datetime, rule: StuckRule) -> Name:
    """Return the verdict on a stage at ``now``."""
    if find_stuck(facts, now, rule) is not None:
        return "stuck"
    if facts.lost:
        return "lost"
    if facts.executing or facts.ready:
        return "at_work"
    return "waiting" if facts.waiting else "over"


def find_stuck(facts: StageFacts, now: datetime, rule: StuckRule) -> Stuck | None:
    """Return why the stage is stuck at ``now``; None if it is not."""
    if facts.ready == 0 or facts.oldest_ready_at is None or facts.executing > facts.lost:
        return None
    since = max(facts.oldest_ready_at, facts.last_movement_at or facts.oldest_ready_at)
    for_seconds = (now - since).total_seconds()
    usual = max(facts.usual_gap_seconds or 0.0, facts.usual_wait_seconds or 0.0)
    explained = max(rule.floor_seconds, PACE_FACTOR * usual)
    if for_seconds <= explained:
        return None
    executing = f"none executing ({facts.lost} lost)" if facts.lost else "none executing"
    return Stuck(
        since=since,
        for_seconds=for_seconds,
        waiting=facts.ready,
        executing=0,
        lost=facts.lost,
        rule=(
            f"{facts.ready} waiting, {executing}, no change for {duration(for_seconds)} "
            f"(its pace explains {duration(explained)})"
        ),
    )


def longest_allowed_seconds(kind: Kind, rule: StuckRule) -> float:
    """Return how long a job of the kind may execute before it counts as lost."""
    allowed = max(rule.lost_floor_seconds, LOST_FACTOR * (kind.longest_seconds or 0.0))
    return allowed if kind.is_known else max(allowed, rule.lost_without_history_seconds)


def describe_lost(jobs: int, since: datetime, kind: Kind, now: datetime) -> Lost:
    """Return a description of lost jobs of one kind; ``since`` is when the first of them started."""
    for_seconds = (now - since).total_seconds()
    if kind.longest_seconds is None:
        pace = "how long its kind takes is not known"
    else:
        pace = f"the longest of its kind took {duration(kind.longest_seconds)}"
    up_to = "" if jobs == 1 else "up to "
    return Lost(jobs, since, for_seconds, f"executing for {up_to}{duration(for_seconds)}, {pace}")


def worst(names: "set[Name]") -> Name | None:
    """Return the verdict on a run from those on its stages; None without any."""
    return next((name for name in WORST_FIRST if name in names), None)


def duration(seconds: float) -> str:
    """Return a duration in its largest unit, rounded down: 45 s, 6 min, 3 h, 2 d."""
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= (2 * size if unit != "min" else size):
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} s" if seconds >= 10 or seconds == int(seconds) else f"{seconds:.1f} s"
