"""Encode an event in Avro: each of its fields, in the order of the contract.

Written by `make contract` from schemas/job_event.avsc; do not edit. `make check` fails when it differs.
"""

from collections.abc import Mapping
from typing import Any

from jobtrail._avro import EMPTY, NUMBERS, Texts, block, moment

_JOB_STATE = {
    "suspended": NUMBERS[0],
    "scheduled": NUMBERS[1],
    "available": NUMBERS[2],
    "executing": NUMBERS[3],
    "retryable": NUMBERS[4],
    "completed": NUMBERS[5],
    "cancelled": NUMBERS[6],
    "discarded": NUMBERS[7],
}


def _depends_on(value: Any, text: Texts) -> bytes:
    return block([text[item] for item in value])


def _expected_children(value: Any, text: Texts) -> bytes:
    return block([text[key] + NUMBERS[item] for key, item in value.items()])


def job_error(record: Mapping[str, Any], text: Texts) -> bytes:
    """Return the bytes of a JobError. A field that it lacks gets the default of the contract.

    Raises KeyError, TypeError, ValueError, OverflowError or AttributeError when it is not a JobError.
    """
    get = record.get
    return b"".join(
        (
            text[get("category", "")],
            text[get("type", "")],
            text[get("message", "")],
            text[get("stacktrace", "")],
            text[get("origin", "")],
            text[get("fingerprint", "")],
        )
    )


def _meta(value: Any, text: Texts) -> bytes:
    return block([text[key] + text[item] for key, item in value.items()])


def job_event(record: Mapping[str, Any], text: Texts) -> bytes:
    """Return the bytes of a JobEvent. A field that it lacks gets the default of the contract.

    Raises KeyError, TypeError, ValueError, OverflowError or AttributeError when it is not a JobEvent.
    """
    get = record.get
    return b"".join(
        (
            text[record["namespace"]],
            text[record["job_id"]],
            text[record["worker"]],
            text[record["queue"]],
            _JOB_STATE[record["state"]],
            NUMBERS[record["attempt"]],
            moment(record["occurred_at"]),
            text[get("source", "")],
            NUMBERS[get("max_attempts", 0)],
            moment(get("enqueued_at", 0)),
            moment(get("scheduled_at", 0)),
            moment(get("started_at", 0)),
            text[get("parent_job_id", "")],
            text[get("root_job_id", "")],
            NUMBERS[get("depth", -1)],
            _depends_on(value, text) if (value := get("depends_on")) else EMPTY,
            _expected_children(value, text) if (value := get("expected_children")) else EMPTY,
            text[get("external_id", "")],
            b"\x02" + job_error(value, text) if (value := get("error")) is not None else b"\x00",
            text[get("release", "")],
            text[get("executor", "")],
            text[get("args", "")],
            _meta(value, text) if (value := get("meta")) else EMPTY,
        )
    )
