"""The one header by which lineage and times cross a queue: ``jobtrail: 1.<base64url of JSON>``.

Printable ASCII without spaces or quotes, of at most LIMIT characters, so that any queue and any HTTP hop carries it.
A header of another version, or a broken or hostile one, is ignored as a whole.
"""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from jobtrail._text import (
    EXTERNAL_ID_LIMIT,
    JOB_ID_LIMIT,
    NAMESPACE_LIMIT,
    QUEUE_LIMIT,
    SOURCE_LIMIT,
    WORKER_LIMIT,
    identifier,
)

NAME: Final = "jobtrail"
LIMIT: Final = 8_192
_VERSION: Final = "1."
_INT_MAX: Final = 2**31 - 1
_TIME_MAX: Final = 253_402_300_799_999_999  # the end of the year 9999, in microseconds


class Ticket(NamedTuple):
    """What is known of a job when it is enqueued. Times in microseconds since 1970, 0 when not known."""

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


# Short keys: the header travels with every job.
_TEXTS: Final = (
    ("n", "namespace", NAMESPACE_LIMIT),
    ("j", "job_id", JOB_ID_LIMIT),
    ("w", "worker", WORKER_LIMIT),
    ("q", "queue", QUEUE_LIMIT),
    ("s", "source", SOURCE_LIMIT),
    ("x", "external_id", EXTERNAL_ID_LIMIT),
    ("p", "parent_job_id", JOB_ID_LIMIT),
    ("r", "root_job_id", JOB_ID_LIMIT),
)
_NUMBERS: Final = (
    ("d", "depth", -1, _INT_MAX),
    ("a", "attempt", 1, _INT_MAX),
    ("m", "max_attempts", 0, _INT_MAX),
    ("e", "enqueued_at", 0, _TIME_MAX),
    ("t", "scheduled_at", 0, _TIME_MAX),
)
_DEFAULTS: Final = Ticket(namespace="", job_id="")._asdict()


def write(ticket: Ticket) -> dict[str, str]:
    """Give the headers to put beside the job in its queue. What is longer than LIMIT loses what is not lineage."""
    value = _encode(ticket)
    if len(value) > LIMIT:
        value = _encode(ticket._replace(external_id="", source="", queue=""))
    return {NAME: value}


def read(headers: Mapping[Any, Any] | None) -> Ticket | None:
    """Give what the header says, None where there is none.

    Raises ValueError when there is one that cannot be read, and nothing else.
    """
    try:
        value = _find(headers)
        return _ticket(_decode(value)) if value else None
    except ValueError:
        raise
    except Exception as error:  # RecursionError of nested JSON, whatever a mapping of one's own raises
        raise ValueError(f"{type(error).__name__}: {error}") from error


def _find(headers: Mapping[Any, Any] | None) -> str:
    """Find the header by its name in any case, its value as text or bytes (AMQP and Kafka give bytes)."""
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
    known = ticket._asdict()
    names = [(key, name) for key, name, _ in _TEXTS] + [(key, name) for key, name, _, _ in _NUMBERS]
    fields = {key: known[name] for key, name in names if known[name] != _DEFAULTS[name]}
    text = json.dumps(fields, ensure_ascii=False, separators=(",", ":"))
    return _VERSION + base64.urlsafe_b64encode(text.encode()).decode("ascii").rstrip("=")


def _decode(value: str) -> Any:
    if len(value) > LIMIT or not value.startswith(_VERSION):
        raise ValueError(f"expected at most {LIMIT} characters of version {_VERSION} got {value[:20]!r}")
    body = value[len(_VERSION) :]
    return json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))


def _ticket(fields: Any) -> Ticket:
    if not isinstance(fields, dict):
        raise ValueError(f"expected an object, got {type(fields).__name__}")  # noqa: TRY004  # one kind of error
    found: dict[str, Any] = {}
    for key, name, limit in _TEXTS:
        text = fields.get(key, "")
        if not isinstance(text, str):
            raise ValueError(f"{name}: expected text, got {type(text).__name__}")  # noqa: TRY004  # one kind of error
        found[name] = identifier(text, limit)
    for key, name, least, most in _NUMBERS:
        number = fields.get(key, _DEFAULTS[name])
        if type(number) is not int or not least <= number <= most:
            raise ValueError(f"{name}: expected an integer from {least} to {most}, got {number!r:.40}")
        found[name] = number
    if not found["namespace"] or not found["job_id"]:
        raise ValueError("namespace and job_id are missing")
    return Ticket(**found)
