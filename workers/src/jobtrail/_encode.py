"""Makes an event's fields fit the contract and encodes it. Runs in the sender's thread, not in the job's."""

from itertools import islice
from typing import Any, Final

from jobtrail._avro import Texts
from jobtrail._record import job_event
from jobtrail._redaction import Redactor
from jobtrail._stack import render
from jobtrail._text import (
    ARGS_LIMIT,
    CATEGORY_LIMIT,
    ERROR_TYPE_LIMIT,
    EXECUTOR_LIMIT,
    EXPECTED_CHILDREN_ENTRIES,
    EXTERNAL_ID_LIMIT,
    FINGERPRINT_LIMIT,
    JOB_ID_LIMIT,
    MESSAGE_LIMIT,
    NAMESPACE_LIMIT,
    ORIGIN_LIMIT,
    QUEUE_LIMIT,
    RELEASE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    cut_end,
    identifier,
    redacted,
    small_map,
    text_of,
)

# The limits of an event's texts, in bytes. A missing field gets its default: the job's thread sets only what it knows.
_TEXT_LIMITS: Final = (
    ("namespace", NAMESPACE_LIMIT),
    ("job_id", JOB_ID_LIMIT),
    ("worker", WORKER_LIMIT),
    ("queue", QUEUE_LIMIT),
    ("source", SOURCE_LIMIT),
    ("parent_job_id", JOB_ID_LIMIT),
    ("root_job_id", JOB_ID_LIMIT),
    ("external_id", EXTERNAL_ID_LIMIT),
    ("release", RELEASE_LIMIT),
    ("executor", EXECUTOR_LIMIT),
)
_COUNT_MAX: Final = 2**31 - 1
# The broker refuses messages above 5 MiB, and Pulsar's client reports that only to callers that wait for each answer.
# An event with its texts cut is far smaller.
PAYLOAD_LIMIT_BYTES: Final = 4 * 1024 * 1024


# A text that these encode fits every field as it is.
_FIT_CHARACTERS: Final = min(limit for _, limit in _TEXT_LIMITS)
_FIT_TEXTS: Final = Texts(_FIT_CHARACTERS)
_TEXTS: Final = Texts(PAYLOAD_LIMIT_BYTES)
_RULES: Final = Redactor()
# Names that may be an address with a password in it. Ids of jobs are kept as they are: they have to stay different.
_MAY_BE_ADDRESSES: Final = ("external_id", "source")


def encode(event: dict[str, Any], redactor: Redactor = _RULES) -> tuple[str, bytes]:
    """Give an event's job id and its Avro bytes: texts cut and repaired where they do not fit, secrets redacted.

    The arguments were redacted when they were written as JSON.

    Raises ValueError, TypeError, KeyError, OverflowError or AttributeError when it cannot be made an event.
    """
    get = event.get
    args = get("args")
    if (
        get("error")
        or get("meta")
        or get("expected_children")
        or get("depends_on")
        or type(get("job_id")) is not str
        or (type(args) is str and len(args) > _FIT_CHARACTERS)
    ):
        event = _fit(event, redactor)
    else:
        # Most events have none of these, and their texts fit: no field needs a check.
        try:
            if "://" in get("external_id", "") or "://" in get("source", ""):
                event = {**event, **_redacted_addresses(event, redactor)}
            return event["job_id"], job_event(event, _FIT_TEXTS)
        except Exception:
            event = _fit(event, redactor)  # then what cannot be repaired is raised below
    payload = job_event(event, _TEXTS)
    if len(payload) > PAYLOAD_LIMIT_BYTES:
        raise ValueError(
            f"an event of {len(payload)} bytes, at most {PAYLOAD_LIMIT_BYTES} can be sent: job {event['job_id']!r:.100}"
        )
    return event["job_id"], payload


def _redacted_addresses(event: dict[str, Any], redactor: Redactor) -> dict[str, str]:
    values = ((name, text_of(event.get(name))) for name in _MAY_BE_ADDRESSES)
    return {name: redactor.text(value) for name, value in values if "://" in value}


def _fit(event: dict[str, Any], redactor: Redactor) -> dict[str, Any]:
    event = {**event, **_redacted_addresses(event, redactor)}
    for name, limit in _TEXT_LIMITS:
        value = event.get(name, "")
        if not (type(value) is str and len(value) <= limit and value.isascii() and "\0" not in value):
            event[name] = identifier(value, limit)
    if event.get("args"):
        event["args"] = cut_end(event["args"], ARGS_LIMIT)
    if event.get("meta"):
        event["meta"] = small_map(event["meta"], redactor)
    if event.get("expected_children"):
        event["expected_children"] = expected_counts(event["expected_children"])
    if event.get("depends_on"):
        event["depends_on"] = [identifier(job_id, JOB_ID_LIMIT) for job_id in event["depends_on"]]
    if event.get("error") is not None:
        event["error"] = _fit_error(event["error"], redactor)
    return event


def left_out(event: dict[str, Any]) -> str:
    """Return what `encode` leaves out of an event because the contract has no room for it; empty when nothing."""
    kinds = len(event.get("expected_children") or ())
    if kinds <= EXPECTED_CHILDREN_ENTRIES:
        return ""
    return f"expected_children names {kinds} workers, an event has room for the first {EXPECTED_CHILDREN_ENTRIES}"


def expected_counts(expected: dict[Any, Any]) -> dict[str, int]:
    """Return the number of children by worker, within the contract's limits: of entries, and of each number."""
    return {
        identifier(worker, WORKER_LIMIT): min(max(int(count), 0), _COUNT_MAX)
        for worker, count in islice(expected.items(), EXPECTED_CHILDREN_ENTRIES)
    }


def _fit_error(error: dict[str, Any], redactor: Redactor) -> dict[str, str]:
    return {
        "category": identifier(error.get("category"), CATEGORY_LIMIT),
        "type": identifier(error.get("type"), ERROR_TYPE_LIMIT),
        "message": redacted(text_of(error.get("message")), MESSAGE_LIMIT, redactor),
        "stacktrace": render(error.get("stacktrace"), redactor),
        "origin": identifier(error.get("origin"), ORIGIN_LIMIT),
        "fingerprint": identifier(error.get("fingerprint"), FINGERPRINT_LIMIT),
    }
