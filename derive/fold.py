"""Fold the events of one batch into rows, in memory. Pure. merge.sql joins rows by the same rules in the database.

Most jobs have one event in a batch, and their row is made from it directly. The events of the others are joined first.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import blake2b
from json import dumps, loads
from operator import itemgetter
from typing import Any, Final, NamedTuple

from derive.fingerprint import VERSION, fingerprint, id_of_group, title
from derive.rows import (
    ATTEMPT_COLUMNS,
    JOB_COLUMNS,
    AttemptRow,
    Batch,
    DeadLetter,
    EdgeRow,
    GroupRow,
    JobRow,
    LateEvent,
)
from schemas.contract import FAILURES, FINISHED, RANKS, Event
from schemas.times import AHEAD_US, FARTHEST_US, LONGEST_RUN_US, known_times

_raised = itemgetter("category", "type", "message", "stacktrace", "origin", "fingerprint")
_HOUR_US = 60 * 60 * 1_000_000
_NO_ERROR = {"category": "", "type": "", "message": "", "stacktrace": "", "origin": "", "fingerprint": ""}
_NOTHING_RAISED = ("f", "", "", "", "", "", "")

_EXECUTING: Final = RANKS["executing"]
_ENDED: Final = min(RANKS[state] for state in FINISHED)
"""Every end of an attempt has this rank or a greater one."""
CLOCKS_DIFFER_US: Final = 60 * 1_000_000
"""How long an attempt may seem to execute after its end, because the clocks of two hosts differ."""

# Places in a JobRow, found once. A row is a plain tuple: a batch has tens of thousands of them, and each must be cheap.
_ATTEMPT: Final = JOB_COLUMNS.index("attempt")
_STATE_RANK: Final = JOB_COLUMNS.index("state_rank")
_OCCURRED_AT: Final = JOB_COLUMNS.index("occurred_at")
_STATE: Final = JOB_COLUMNS.index("state")
_SCHEDULED_AT: Final = JOB_COLUMNS.index("scheduled_at")
_ENQUEUED_AT: Final = JOB_COLUMNS.index("enqueued_at")
_STARTED_AT: Final = JOB_COLUMNS.index("started_at")
_SOURCE: Final = JOB_COLUMNS.index("source")
_ARGS: Final = JOB_COLUMNS.index("args")
_ARGS_ATTEMPT: Final = JOB_COLUMNS.index("args_attempt")
_ARGS_RANK: Final = JOB_COLUMNS.index("args_rank")
_ARGS_OCCURRED_AT: Final = JOB_COLUMNS.index("args_occurred_at")
_LATEST_AT: Final = JOB_COLUMNS.index("latest_at")
_EARLIEST_AT: Final = JOB_COLUMNS.index("earliest_at")
_IS_REPEATED: Final = JOB_COLUMNS.index("is_repeated")

# Places in an AttemptRow; those of times, in the part of it that an event says (from the state to the executor).
_ATTEMPT_KEY: Final = slice(0, ATTEMPT_COLUMNS.index("state"))
_SAID_COLUMNS: Final = ATTEMPT_COLUMNS[ATTEMPT_COLUMNS.index("state") :]
_BEFORE_TIMES: Final = slice(0, _SAID_COLUMNS.index("enqueued_at"))
_AFTER_TIMES: Final = slice(_SAID_COLUMNS.index("external_id"), None)

# Blocks of columns of a JobRow that lie side by side; each ends where the next one begins.
_VERSION: Final = slice(_ATTEMPT, _STATE)
"""attempt, state_rank, occurred_at"""
_RANK_AND_TIME: Final = slice(_STATE_RANK, _STATE)
_BEFORE_SCHEDULED: Final = slice(_STATE, _SCHEDULED_AT)
_FROM_SCHEDULED: Final = slice(_SCHEDULED_AT, _ENQUEUED_AT)
_WINNERS: Final = slice(0, _ENQUEUED_AT)
"""The key, and everything that comes from the latest event."""
_DESCRIPTORS: Final = slice(_SOURCE, _ARGS)
_ARGS_WITH_VERSION: Final = slice(_ARGS, _LATEST_AT)


class _Rows(NamedTuple):
    """The rows of some events, in the shape of the stage tables; by key while events are added."""

    jobs: dict[tuple[str, str], JobRow]
    attempts: dict[tuple[object, ...], AttemptRow]
    edges: dict[EdgeRow, None]
    groups: dict[tuple[str, int], GroupRow]


def fold(
    events: Iterable[Event], dead_letters: Iterable[DeadLetter] = (), horizon_us: int | None = None
) -> Batch:
    """Return the rows of one batch.

    Events that occurred before the horizon are counted as expired. They add no attempt and no count; what they add to jobs
    and edges is kept separate, in `Batch.late`. A dead letter that was published before the horizon adds nothing.
    """
    every = list(events)
    letters = list(dead_letters)
    late: list[Event] = []
    in_time = every
    if horizon_us is not None:
        in_time = [event for event in every if event.occurred_at >= horizon_us]
        if len(in_time) < len(every):
            late = [event for event in every if event.occurred_at < horizon_us]
        letters = [letter for letter in letters if letter.publish_time_us >= horizon_us]
    rows = _rows(in_time)
    late_rows = [_rows([event]) for event in late]
    return Batch(
        jobs=list(rows.jobs.values()),
        attempts=list(rows.attempts.values()),
        edges=list(rows.edges),
        groups=list(rows.groups.values()),
        dead_letters=list({_letter_key(letter): letter for letter in letters}.values()),
        late=[LateEvent(job, tuple(one.edges)) for one in late_rows for job in one.jobs.values()],
        events=len(every),
        expired=len(late),
        horizon_us=horizon_us,
        # A late failure makes no group, but its job's row names one.
        fingerprint_version=VERSION if rows.groups or any(one.groups for one in late_rows) else None,
    )


def fold_whole_log(
    events: Iterable[Event], dead_letters: Iterable[DeadLetter] = (), horizon_us: int | None = None
) -> Batch:
    """Return the rows of one batch of a rebuild, which reads the log from its beginning.

    Like `fold`, but events from before the horizon get normal rows: only when the whole log has been read is it known which
    runs are kept.
    """
    batch = fold(events, dead_letters, horizon_us)
    return with_late(batch, batch.late) if batch.late else batch


def with_late(batch: Batch, late: Iterable[LateEvent]) -> Batch:
    """Return the batch with only these late events added to its jobs and edges."""
    jobs = {row[:2]: row for row in batch.jobs}
    edges = dict.fromkeys(batch.edges)
    for event in late:
        other = jobs.get(event.job[:2])
        jobs[event.job[:2]] = event.job if other is None else join(other, event.job)
        edges.update(dict.fromkeys(event.edges))
    return replace(batch, jobs=list(jobs.values()), edges=list(edges), late=[])


def _rows(events: list[Event]) -> _Rows:
    jobs: dict[tuple[str, str], JobRow] = {}
    attempts: dict[tuple[object, ...], AttemptRow] = {}
    edges: dict[EdgeRow, None] = {}
    groups: dict[tuple[str, int], GroupRow] = {}
    for event in events:
        # fmt: off
        (
            namespace, job_id, worker, queue, state, attempt, occurred_at, source, max_attempts, enqueued_at,
            scheduled_at, started_at, parent, root, depth, depends_on, expected, external_id, error, release,
            executor, args, meta,
        ) = event
        # fmt: on
        times = None
        if (  # no call for the many events with possible times
            (started_at and not -LONGEST_RUN_US <= started_at - occurred_at <= AHEAD_US)
            or (enqueued_at and not -FARTHEST_US <= enqueued_at - occurred_at <= AHEAD_US)
            or (scheduled_at and not -FARTHEST_US <= scheduled_at - occurred_at <= FARTHEST_US)
        ):
            times = known_times(occurred_at, enqueued_at, scheduled_at, started_at)
        group_id = ""
        if state in FINISHED:
            if state in FAILURES:
                group_id = _add_group(groups, namespace, source, occurred_at, error or _NO_ERROR)
            # fmt: off
            said = (
                state, worker, queue, source, max_attempts, enqueued_at, scheduled_at, started_at, external_id, release,
                executor,
            )
            # fmt: on
            end = _attempt_row(namespace, job_id, attempt, occurred_at, said, times, error, group_id)
            attempts[end[_ATTEMPT_KEY]] = end
        if times is not None:
            enqueued_at, scheduled_at, started_at = times
        rank = RANKS[state]
        # The columns of JOB_COLUMNS.
        # fmt: off
        row = (
            namespace, job_id, attempt, rank, occurred_at, state, worker, queue, max_attempts, scheduled_at, release,
            executor, error["category"] if error else "", error["type"] if error else "", group_id, enqueued_at,
            started_at, source, external_id, root, parent, depth, dumps(expected) if expected else "",
            dumps(meta, ensure_ascii=False) if meta else "", args, attempt if args else 0, rank if args else 0,
            occurred_at if args else 0, occurred_at, occurred_at, "f",
        )
        # fmt: on
        other = jobs.setdefault((namespace, job_id), row)
        if other is not row:
            jobs[namespace, job_id] = join(other, row)
        if parent and parent != job_id:
            edges[namespace, parent, "spawned", job_id] = None
        for upstream in depends_on:
            if upstream and upstream != job_id:
                edges[namespace, upstream, "depends_on", job_id] = None
    return _Rows(jobs, attempts, edges, groups)


def _letter_key(letter: DeadLetter) -> tuple[str, str, int]:
    """Return the key of a dead letter. A new broker may use the same message ids again; the time distinguishes them."""
    return letter.topic, letter.message_id, letter.publish_time_us


def join(one: JobRow, other: JobRow) -> JobRow:
    """Join two rows of one job: the later state wins, descriptors merge column by column. Commutative and associative."""
    winner: Any
    loser: Any
    winner, loser = (one, other) if _is_later(one, other) else (other, one)
    enqueued, started = winner[_ENQUEUED_AT], winner[_STARTED_AT]
    repeated = winner[_IS_REPEATED]
    if winner[_ATTEMPT] == loser[_ATTEMPT]:
        enqueued, started = _lesser(enqueued, loser[_ENQUEUED_AT]), _lesser(started, loser[_STARTED_AT])
        if loser[_IS_REPEATED] == "t" or (winner[_STATE_RANK] >= _ENDED and _contradict(winner, loser)):
            repeated = "t"
    # Two events of one job mostly have the same descriptors: then there is nothing to merge.
    described = winner[_DESCRIPTORS]
    if described != loser[_DESCRIPTORS]:
        described = _join_descriptors(described, loser[_DESCRIPTORS])
    args = loser if loser[_ARGS] and _args_version(loser) > _args_version(winner) else winner
    times = (max(one[_LATEST_AT], other[_LATEST_AT]), min(one[_EARLIEST_AT], other[_EARLIEST_AT]))
    return (*winner[_WINNERS], enqueued, started, *described, *args[_ARGS_WITH_VERSION], *times, repeated)


def _is_later(one: Any, other: Any) -> bool:
    """Compare by (attempt, rank, occurred_at). Ties are broken by every other column of the winner."""
    if one[_VERSION] != other[_VERSION]:
        later: bool = one[_VERSION] > other[_VERSION]
        return later
    return _tie(one) >= _tie(other)


def _contradict(end: Any, other: Any) -> bool:
    """Return whether another row of the attempt contradicts its end: by being another end, or an execution after it."""
    if other[_STATE_RANK] >= _ENDED:
        return bool(other[_RANK_AND_TIME] != end[_RANK_AND_TIME])
    later_us = other[_OCCURRED_AT] - end[_OCCURRED_AT]
    return bool(other[_STATE_RANK] == _EXECUTING and later_us > CLOCKS_DIFFER_US)


def _tie(row: Any) -> tuple[Any, ...]:
    """Return what breaks a tie between two versions. An unknown time is the lowest, even below times before 1970."""
    return (*row[_BEFORE_SCHEDULED], row[_SCHEDULED_AT] != 0, *row[_FROM_SCHEDULED])


def _join_descriptors(one: Any, other: Any) -> JobRow:
    """Merge source, external id, the place in the run, announced children and meta."""
    source, external_id, *place, expected, meta = one
    other_source, other_external_id, *other_place, other_expected, other_meta = other
    return (
        _lesser(source, other_source),
        _lesser(external_id, other_external_id),
        *min(place, other_place, key=_place),
        _merge_maps(expected, other_expected, greatest=True),
        _merge_maps(meta, other_meta, greatest=False),
    )


def _lesser(one: Any, other: Any) -> Any:
    """Return the lesser of two values. '' and 0 are not known: the other value wins then."""
    return min(one, other) if one and other else one or other


def _place(place: Sequence[Any]) -> tuple[Any, ...]:
    root, parent, depth = place
    return (root == "", root, parent == "", parent, depth == -1, depth)


def _args_version(row: JobRow) -> tuple[Any, ...]:
    return (row[_ARGS] != "", row[_ARGS_ATTEMPT], row[_ARGS_RANK], row[_ARGS_OCCURRED_AT], row[_ARGS])


def _merge_maps(one: Any, other: Any, *, greatest: bool) -> Any:
    """Merge two maps, given as JSON text: for each key the greatest count, or the least text."""
    if not one or not other or one == other:
        return one or other
    merged = loads(one)
    pick = max if greatest else min
    for key, value in loads(other).items():
        merged[key] = pick(merged[key], value) if key in merged else value
    return dumps(merged, ensure_ascii=False)


def _attempt_row(
    namespace: str,
    job_id: str,
    attempt: int,
    finished_at: int,
    said: tuple[str | int, ...],
    times: tuple[int, int, int] | None,
    error: dict[str, str] | None,
    group_id: str,
) -> AttemptRow:
    """Return the row of a finishing event. Its digest covers the raw fields, so that it distinguishes two ends.

    ``times`` replace the impossible times in ``said``. The digest still covers the raw ones, so that an end that was stored
    before this rule is recognized.
    """
    raised = _NOTHING_RAISED if error is None else ("t", *_raised(error))
    # No text holds a NUL, so joining by it keeps the fields apart.
    digest = blake2b("\0".join(map(str, said + raised)).encode(), digest_size=16).hexdigest()
    known = said if times is None else (*said[_BEFORE_TIMES], *times, *said[_AFTER_TIMES])
    return (namespace, job_id, attempt, finished_at, digest, *known, group_id, *raised)


def _add_group(
    groups: dict[tuple[str, int], GroupRow],
    namespace: str,
    source: str,
    occurred_at: int,
    error: dict[str, str],
) -> str:
    """Add the failure's group, with the least title of its hour, and return its id."""
    mark = fingerprint(error["type"], error["message"], error["origin"], error["fingerprint"])
    key = (namespace, source, error["category"], error["type"], mark)
    group = id_of_group(key)
    words = title(error["type"], error["message"], error["origin"])
    hour = occurred_at // _HOUR_US * _HOUR_US
    known = groups.get((group, hour))  # its title is its last column
    if known is None or words < known[-1]:
        groups[group, hour] = (group, *key, hour, words)
    return group
