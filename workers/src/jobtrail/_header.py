"""The one header that carries lineage and times through a queue: ``jobtrail: 1.<base64url of a JSON array>``.

It is printable ASCII without spaces or quotes, at most LIMIT characters long, so any queue and any HTTP hop can carry
it. A header that has another version, or is broken or hostile, is ignored as a whole.
"""

import base64
import json
from collections.abc import Mapping
from json.encoder import encode_basestring
from operator import itemgetter
from typing import Any, Final, NamedTuple

from jobtrail._text import (
    EXTERNAL_ID_LIMIT,
    JOB_ID_LIMIT,
    NAMESPACE_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    describe,
    identifier,
)

NAME: Final = "jobtrail"
LIMIT: Final = 8_192
_VERSION: Final = "1."
_INT_MAX: Final = 2**31 - 1
_TIME_MAX: Final = 253_402_300_799_999_999  # the end of the year 9999, in microseconds


class Ticket(NamedTuple):
    """What is known about a job when it is enqueued. Times are in microseconds since 1970, 0 when not known."""

    namespace: str
    job_id: str
    worker: str = ""
    queue: str = ""
    source: str = ""
    external_id: str = ""
    parent_job_id: str = ""
    root_job_id: str = ""
    depth: int = -1
    attempt: int = 1
    max_attempts: int = 0
    enqueued_at: int = 0
    scheduled_at: int = 0


_values_of: Final = itemgetter(*Ticket._fields)

# The JSON is an array in the order of Ticket's fields: the header travels with every job, and writing it takes the
# job's time. Another order or another field needs another version.
_TEXTS: Final = (
    ("namespace", NAMESPACE_LIMIT),
    ("job_id", JOB_ID_LIMIT),
    ("worker", WORKER_LIMIT),
    ("queue", QUEUE_LIMIT),
    ("source", SOURCE_LIMIT),
    ("external_id", EXTERNAL_ID_LIMIT),
    ("parent_job_id", JOB_ID_LIMIT),
    ("root_job_id", JOB_ID_LIMIT),
)
_NUMBERS: Final = (
    ("depth", -1, _INT_MAX),
    ("attempt", 1, _INT_MAX),
    ("max_attempts", 0, _INT_MAX),
    ("enqueued_at", 0, _TIME_MAX),
    ("scheduled_at", 0, _TIME_MAX),
)


def ticket_of(event: Mapping[str, Any]) -> Ticket:
    """Return the ticket of an event's job. The event must have all fields of a ticket."""
    return Ticket(*_values_of(event))


def write(ticket: Ticket) -> dict[str, str]:
    """Return the headers to put beside the job in its queue. If too long, they lack external id, source and queue."""
    value = _encode(ticket)
    if len(value) > LIMIT:
        value = _encode(ticket._replace(external_id="", source="", queue=""))
    return {NAME: value}


def read(headers: Mapping[Any, Any] | None) -> Ticket | None:
    """Return the header's ticket, or None when there is no header.

    Raises only ValueError: there is a header, but it cannot be read.
    """
    try:
        value = _find(headers)
        return _ticket(_decode(value)) if value else None
    except ValueError:
        raise
    except Exception as error:  # RecursionError from nested JSON, or any error that a custom mapping raises
        raise ValueError(describe(error)) from error


def _find(headers: Mapping[Any, Any] | None) -> str:
    """Find the header by its name in any letter case; the value is text or bytes (AMQP and Kafka use bytes)."""
    if not headers:
        return ""
    value = headers.get(NAME)
    if value is None:
        value = next(
            (item for key, item in headers.items() if isinstance(key, str) and key.lower() == NAME), None
        )
    if isinstance(value, bytes):
        value = value[: LIMIT + 1].decode("ascii")
    if value is not None and not isinstance(value, str):
        raise ValueError(f"expected text, got {type(value).__name__}")
    return value or ""


def _encode(ticket: Ticket) -> str:
    # By hand: for an array this small, json would spend most of its time on its own set-up.
    values = [encode_basestring(value) if isinstance(value, str) else str(value) for value in ticket]
    value = base64.urlsafe_b64encode(f"[{','.join(values)}]".encode())
    return _VERSION + value.decode("ascii").rstrip("=")


def _decode(value: str) -> Any:
    if len(value) > LIMIT or not value.startswith(_VERSION):
        raise ValueError(f"expected at most {LIMIT} characters of version {_VERSION} got {value[:20]!r}")
    body = value[len(_VERSION) :]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def _ticket(values: Any) -> Ticket:
    if not isinstance(values, list) or len(values) != len(_TEXTS) + len(_NUMBERS):
        raise ValueError(f"expected an array of {len(_TEXTS) + len(_NUMBERS)} values")
    checked: list[Any] = []
    for (name, limit), text in zip(_TEXTS, values, strict=False):
        if not isinstance(text, str):
            raise ValueError(f"{name}: expected text, got {type(text).__name__}")  # noqa: TRY004  # one kind of error
        checked.append(identifier(text, limit))
    for (name, least, most), number in zip(_NUMBERS, values[len(_TEXTS) :], strict=True):
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"{name}: expected an integer from {least} to {most}, got {number!r:.40}")
        checked.append(number)
    ticket = Ticket(*checked)
    if not ticket.namespace or not ticket.job_id:
        raise ValueError("namespace or job_id is empty")
    return ticket
