"""Finds everything wrong with an event before a publisher sends it, each with field, value and cure. Pure.

An event is JSON (a dict of the record's fields; times as microseconds or in RFC 3339) or Avro bytes. A problem is a reason
for which consumers would refuse the event, or advice on an event that they accept.
"""

import difflib
import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import fastavro

from schemas.contract import EVENT_BYTES, FAILURES, FINISHED, SCHEMA, STATES
from schemas.dead_letter_reasons import DeadLetterReason
from schemas.decode import Decoder, examine, too_large
from schemas.errors import DecodeError
from schemas.redaction import redact
from schemas.times import LONGEST_MEASURED_US, OTHER_TIMES, known_times, likely_mistake
from schemas.writer_schema import plain_schema

_FIELDS = {field["name"]: field for field in SCHEMA["fields"]}
_ERROR = next(branch for branch in _FIELDS["error"]["type"] if branch != "null")
_ERROR_FIELDS = {field["name"]: field for field in _ERROR["fields"]}
_WRITER = fastavro.parse_schema(plain_schema(SCHEMA))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHOWN_CHARACTERS = 80
_DAY_US = 24 * 60 * 60 * 1_000_000
_INT_RANGES = {"int": 2**31, "long": 2**63}


ADVICE = "advice"
"""The reason of a problem with an event that consumers accept."""


class Problem(NamedTuple):
    """One problem. ``reason`` is the reason of the dead letter that the event would become, or ADVICE."""

    reason: str
    field: str
    value: str
    says: str


def problems_of_json(value: Any) -> list[Problem]:
    """Return the problems of an event given as JSON; empty when consumers accept it and there is no advice."""
    if not isinstance(value, dict):
        return [
            _problem(
                DeadLetterReason.MALFORMED,
                "",
                value,
                f"expected a JSON object of an event's fields, got {_kind(value)}",
            )
        ]
    found = list(_problems_of_fields(value, _FIELDS, ""))
    if found:
        return found
    event = _completed(value)
    refusal = _refusal(event)
    return [refusal] if refusal else list(_advice(event))


def problems_of_payload(payload: bytes, decode: Decoder) -> list[Problem]:
    """Return the problems of an encoded event. ``decode`` is for the schema it was written with."""
    try:
        if len(payload) > EVENT_BYTES:
            raise too_large(len(payload))
        event = decode(payload)
    except DecodeError as error:
        return [Problem(error.reason, error.field, "", error.detail)]
    return list(_advice(event._asdict()))


def is_advice(problem: Problem) -> bool:
    """Return whether consumers would accept the event."""
    return problem.reason == ADVICE


def _problems_of_fields(value: dict[Any, Any], fields: dict[str, Any], path: str) -> Iterator[Problem]:
    for name, given in value.items():
        if name not in fields:
            near = difflib.get_close_matches(str(name), fields, 1)
            hint = f"did you mean {path}{near[0]}?" if near else f"the fields are {', '.join(fields)}"
            yield _problem(
                DeadLetterReason.MALFORMED, f"{path}{name}", given, f"there is no such field: {hint}"
            )
    for name, field in fields.items():
        if name in value:
            yield from _problems_of_type(value[name], field["type"], f"{path}{name}", name)
        elif "default" not in field:
            yield _problem(
                DeadLetterReason.MISSING_FIELD,
                f"{path}{name}",
                None,
                "is required and missing: every event must have it",
            )


def _problems_of_type(value: Any, expected: Any, path: str, name: str) -> Iterator[Problem]:
    if isinstance(expected, list):
        if value is not None and not isinstance(value, dict):
            yield _problem(
                DeadLetterReason.MALFORMED, path, value, f"expected an object or null, got {_kind(value)}"
            )
        elif value is not None:
            yield from _problems_of_fields(value, _ERROR_FIELDS, f"{path}.")
    elif isinstance(expected, dict) and expected["type"] == "enum":
        if value not in STATES:
            near = difflib.get_close_matches(str(value), STATES, 1)
            hint = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(STATES)}"
            yield _problem(DeadLetterReason.UNKNOWN_STATE, path, value, hint)
    elif isinstance(expected, dict) and expected.get("logicalType") == "timestamp-micros":
        yield from _problems_of_time(value, path)
    elif isinstance(expected, dict) and expected["type"] == "array":
        if not isinstance(value, list):
            yield _problem(DeadLetterReason.MALFORMED, path, value, f"expected a list, got {_kind(value)}")
            return
        for at, item in enumerate(value):
            yield from _problems_of_type(item, expected["items"], f"{path}[{at}]", name)
    elif isinstance(expected, dict) and expected["type"] == "map":
        if not isinstance(value, dict):
            yield _problem(DeadLetterReason.MALFORMED, path, value, f"expected an object, got {_kind(value)}")
            return
        for key, item in value.items():
            yield from _problems_of_type(key, "string", f"{path} (a key)", name)
            yield from _problems_of_type(item, expected["values"], f"{path}[{key!r}]", name)
    else:
        yield from _problems_of_primitive(value, expected, path)


def _problems_of_primitive(value: Any, expected: str, path: str) -> Iterator[Problem]:
    if expected == "string":
        if not isinstance(value, str):
            unknown = ' (write "" for a text that is not known)' if value is None else ""
            yield _problem(
                DeadLetterReason.MALFORMED, path, value, f"expected a text, got {_kind(value)}{unknown}"
            )
        elif any("\ud800" <= character <= "\udfff" for character in value):
            yield _problem(
                DeadLetterReason.MALFORMED,
                path,
                value,
                "contains half of a surrogate pair, which UTF-8 cannot encode: replace it before encoding",
            )
        return
    if not isinstance(value, int) or isinstance(value, bool):
        yield _problem(
            DeadLetterReason.MALFORMED, path, value, f"expected a whole number, got {_kind(value)}"
        )
    elif not -_INT_RANGES[expected] <= value < _INT_RANGES[expected]:
        yield _problem(
            DeadLetterReason.OUT_OF_RANGE,
            path,
            value,
            f"does not fit an Avro {expected}: is it in the unit of the field?",
        )


def _problems_of_time(value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, str) and _micros(value) is None:
        yield _problem(
            DeadLetterReason.MALFORMED,
            path,
            value,
            "expected microseconds since 1970 or a time like 2026-11-22T20:51:03Z",
        )
    elif value is not None and not isinstance(value, str):
        yield from _problems_of_primitive(value, "long", path)


def _micros(text: str) -> int | None:
    """Return a time in RFC 3339 with an offset as microseconds since 1970; None when it is not one."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return None if moment.tzinfo is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _completed(value: dict[str, Any]) -> dict[str, Any]:
    """Return the event as a decoder would: with its defaults, and with times as numbers."""
    event = {name: value.get(name, field.get("default")) for name, field in _FIELDS.items()}
    for name, field in _FIELDS.items():
        if isinstance(field["type"], dict) and field["type"].get("logicalType"):
            event[name] = _micros(event[name]) if isinstance(event[name], str) else event[name] or 0
    if event["error"] is not None:
        event["error"] = {
            name: event["error"].get(name, field["default"]) for name, field in _ERROR_FIELDS.items()
        }
    return event


def _refusal(event: dict[str, Any]) -> Problem | None:
    try:
        examine(event)
        stream = io.BytesIO()
        fastavro.schemaless_writer(stream, _WRITER, event)
        if stream.tell() > EVENT_BYTES:
            raise too_large(stream.tell())
    except DecodeError as error:
        value = event.get(error.field, "")
        return _problem(error.reason, error.field, value, error.detail)
    return None


def _advice(event: dict[str, Any]) -> Iterator[Problem]:
    if event["state"] in FAILURES and event["error"] is None:
        yield _problem(
            ADVICE,
            "error",
            None,
            "is missing on a failure: all failures without an error are in one failure group",
        )
    if event["parent_job_id"] and (not event["root_job_id"] or event["depth"] < 0):
        yield _problem(
            ADVICE,
            "root_job_id",
            event["root_job_id"],
            "is missing, or depth is, beside a parent: the job is found only by walking its edge, not by an index",
        )
    if not event["parent_job_id"] and event["root_job_id"] in ("", event["job_id"]) and event["depth"] < 0:
        yield _problem(
            ADVICE,
            "root_job_id",
            event["root_job_id"],
            "is missing, or depth is: a job without a parent is a root, which should carry root_job_id = its own id and depth 0",
        )
    if event["depth"] == 0 and event["root_job_id"] != event["job_id"]:
        yield _problem(
            ADVICE,
            "root_job_id",
            event["root_job_id"],
            "is another job's id: a root (depth 0) carries its own id here",
        )
    if 0 < event["max_attempts"] < event["attempt"]:
        yield _problem(
            ADVICE,
            "attempt",
            event["attempt"],
            f"is more than max_attempts ({event['max_attempts']})",
        )
    yield from _advice_on_times(event)


def _advice_on_times(event: dict[str, Any]) -> Iterator[Problem]:
    """Advise on impossible times: consumers accept the event, and read such a time as not known."""
    at = event["occurred_at"]
    known = dict(zip(OTHER_TIMES, known_times(at, *(event[name] for name in OTHER_TIMES)), strict=True))
    for name, believed in known.items():
        if event[name] == believed:
            continue
        mistake = likely_mistake(event[name], at)
        yield _problem(
            ADVICE,
            name,
            event[name],
            f"{_shown_time(event[name])} is impossible, so it is read as not known: it may lie {OTHER_TIMES[name]}, which is "
            f"{_shown_time(at)}{f'. Probably {mistake}' if mistake else ''}",
        )
    if event["state"] in FINISHED and known["started_at"]:
        ran_us = at - known["started_at"]
        if not 0 <= ran_us <= LONGEST_MEASURED_US:
            yield _problem(
                ADVICE,
                "started_at",
                event["started_at"],
                "is after occurred_at, when the attempt ended: its duration is not measured"
                if ran_us < 0
                else f"is {ran_us // _DAY_US} days before the attempt ended: durations over 30 days are not measured",
            )


def _shown_time(time_us: int) -> str:
    """Return a time as people read it, with whole seconds; the years are 1 to 9999."""
    moment = _EPOCH + timedelta(seconds=time_us // 1_000_000)
    return moment.replace(tzinfo=None).isoformat(" ") + "Z"


def _problem(reason: str, field: str, value: Any, says: str) -> Problem:
    shown = "" if value is None else value if isinstance(value, str) else repr(value)
    return Problem(reason, field, redact(shown)[:_SHOWN_CHARACTERS], says)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"the number {value!r:.40}")
