"""Fold the events of one batch into rows: the law's join, in memory. Pure; the SQL of the merge is its twin.

Most jobs have one event in a batch, so their row is made straight from it; the others are joined first.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from json import dumps, loads
from operator import itemgetter
from typing import Any

from derive.fingerprint import VERSION, fingerprint, id_of_group, title
from derive.rows import AttemptRow, Batch, DeadLetter, EdgeRow, GroupRow, JobRow
from schemas.contract import FAILURES, FINISHED, RANKS, Event
from schemas.times import AHEAD_US, FARTHEST_US, LONGEST_RUN_US, known_times

_raised = itemgetter("category", "type", "message", "stacktrace", "origin", "fingerprint")
_HOUR_US = 60 * 60 * 1_000_000
_NO_ERROR = {"category": "", "type": "", "message": "", "stacktrace": "", "origin": "", "fingerprint": ""}
_NOTHING_RAISED = ("f", "", "", "", "", "", "")


def fold(
    events: Iterable[Event], dead_letters: Iterable[DeadLetter] = (), horizon_us: int | None = None
) -> Batch:
    """Rows of one batch. Events that occurred before the horizon are counted as expired and bring nothing.

    Nor does a dead letter that was published before it.
    """
    jobs: dict[tuple[str, str], JobRow] = {}
    attempts: dict[tuple[object, ...], AttemptRow] = {}
    edges: dict[EdgeRow, None] = {}
    groups: dict[tuple[str, int], GroupRow] = {}
    count = expired = 0
    for event in events:
        count += 1
        # fmt: off
        (
            namespace, job_id, worker, queue, state, attempt, occurred_at, source, max_attempts, enqueued_at,
            scheduled_at, started_at, parent, root, depth, depends_on, expected, external_id, error, release,
            executor, args, meta,
        ) = event
        # fmt: on
        if horizon_us is not None and occurred_at < horizon_us:
            expired += 1
            continue
        times = None
        if (  # without a call for the many whose times can be
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
            attempts[end[:5]] = end
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
            occurred_at if args else 0, occurred_at,
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
    letters = list(dead_letters)
    if horizon_us is not None:
        letters = [letter for letter in letters if letter.publish_time_us >= horizon_us]
    return Batch(
        jobs=list(jobs.values()),
        attempts=list(attempts.values()),
        edges=list(edges),
        groups=list(groups.values()),
        dead_letters=list({_letter_key(letter): letter for letter in letters}.values()),
        events=count,
        expired=expired,
        horizon_us=horizon_us,
        fingerprint_version=VERSION if groups else None,
    )


def _letter_key(letter: DeadLetter) -> tuple[str, str, int]:
    """A broker built anew gives the same message ids again; the time tells them apart."""
    return letter.topic, letter.message_id, letter.publish_time_us


def join(one: JobRow, other: JobRow) -> JobRow:
    """Two rows of one job into one: the later state, descriptors column by column. Commutative and associative."""
    winner, loser = (one, other) if _is_later(one, other) else (other, one)
    enqueued, started = winner[15], winner[16]
    if winner[2] == loser[2]:
        enqueued, started = _lesser(enqueued, loser[15]), _lesser(started, loser[16])
    # Two events of one job mostly say the same of it: source to meta are then taken as they are.
    described = winner[17:24]
    if described != loser[17:24]:
        described = _join_descriptors(described, loser[17:24])
    args = winner if _args_version(winner) >= _args_version(loser) else loser
    return (*winner[:15], enqueued, started, *described, *args[24:28], max(one[28], other[28]))


def _is_later(one: Any, other: Any) -> bool:
    """By (attempt, rank, occurred_at); equal ones by all that the winner brings, unknown times the lowest."""
    if one[2:5] != other[2:5]:
        later: bool = one[2:5] > other[2:5]
        return later
    return (*one[5:9], one[9] != 0, *one[9:15]) >= (*other[5:9], other[9] != 0, *other[9:15])


def _join_descriptors(one: JobRow, other: JobRow) -> JobRow:
    """Columns 17 to 23: source, external id, the place in the run, announced children, meta."""
    return (
        _lesser(one[0], other[0]),
        _lesser(one[1], other[1]),
        *min(one[2:5], other[2:5], key=_place),
        _merge_maps(one[5], other[5], greatest=True),
        _merge_maps(one[6], other[6], greatest=False),
    )


def _lesser(one: Any, other: Any) -> Any:
    """Of two values the lesser; a value beats none ('' or 0)."""
    return min(one, other) if one and other else one or other


def _place(place: Sequence[Any]) -> tuple[Any, ...]:
    root, parent, depth = place
    return (root == "", root, parent == "", parent, depth == -1, depth)


def _args_version(row: JobRow) -> tuple[Any, ...]:
    return (row[24] != "", row[25], row[26], row[27], row[24])


def _merge_maps(one: Any, other: Any, *, greatest: bool) -> Any:
    """Two maps as JSON text, key by key the greatest count or the least text."""
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
    """The row of ATTEMPT_COLUMNS of a finishing event; its digest is over the raw fields that tell two ends apart.

    ``times`` replace those in ``said`` that cannot be. The digest keeps them, so that an end that was stored before this
    rule is still known as the same.
    """
    raised = _NOTHING_RAISED if error is None else ("t", *_raised(error))
    # No text holds a NUL, so joining by it keeps the fields apart.
    digest = blake2b("\0".join(map(str, said + raised)).encode(), digest_size=16).hexdigest()
    known = said if times is None else (*said[:5], *times, *said[8:])
    return (namespace, job_id, attempt, finished_at, digest, *known, group_id, *raised)


def _add_group(
    groups: dict[tuple[str, int], GroupRow],
    namespace: str,
    source: str,
    occurred_at: int,
    error: dict[str, str],
) -> str:
    """Note the failure's group, with the least title of its hour, and give its id: a hash over what the group is."""
    mark = fingerprint(error["type"], error["message"], error["origin"], error["fingerprint"])
    key = (namespace, source, error["category"], error["type"], mark)
    group = id_of_group(key)
    words = title(error["type"], error["message"], error["origin"])
    hour = occurred_at // _HOUR_US * _HOUR_US
    known = groups.get((group, hour))
    if known is None or words < known[7]:
        groups[group, hour] = (group, *key, hour, words)
    return group
