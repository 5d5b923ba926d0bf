"""Formats events, one line each, for people and as JSON, and the problems of events in files."""

import json
from datetime import UTC, datetime, timedelta

from cli.render.safe_text import safe, safe_name
from cli.render.words import plural
from derive.rows import DeadLetter
from schemas.contract import Event
from schemas.look import look
from schemas.redacted_event import masked_payload, redacted_event
from schemas.redaction import redact
from schemas.validate import Problem, is_advice
from store.answers.as_json import moment
from store.answers.dead_letters import format_message_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("occurred_at", "enqueued_at", "scheduled_at", "started_at")
_STATE_WIDTH = len("suspended")


def event_line(event: Event) -> str:
    """Return the time, state and job of an event, and whatever else it has."""
    fields = redacted_event(event._asdict())
    error = fields["error"]
    said = [
        f"{_time(event.occurred_at):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z",
        f"{event.state:<{_STATE_WIDTH}}",
        f"{safe_name(event.worker)} #{safe_name(event.job_id)}",
        f"attempt {event.attempt}" if event.attempt > 1 else "",
        safe(event.namespace, 40),
        safe(fields["source"], 40),
        safe(fields["external_id"], 40),
        f"✗ {safe(error['category'] or error['type'])}: {safe(error['message'], 80)}" if error else "",
    ]
    return "  ".join(part for part in said if part)


def invalid_line(letter: DeadLetter) -> str:
    """Return the line of a message that is not a valid event: when it was published, and the reason."""
    published = f"{_time(letter.publish_time_us):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
    reason, message = safe(letter.reason), safe(format_message_id(letter.message_id), 80)
    return f"{published}  ⚠ {reason}  message {message}, {plural(len(letter.payload), 'byte')}: {safe(redact(letter.detail), 400)}"


def event_json(event: Event, topic: str, message_id: str) -> str:
    """Return one line: its place in the topic, and all its fields, with times in RFC 3339 (null: not known)."""
    fields = redacted_event(event._asdict())
    for name in _TIMES:
        fields[name] = moment(_time(fields[name])) if fields[name] else None
    return _one_line({"topic": topic, "message_id": message_id, "event": fields})


def invalid_json(letter: DeadLetter) -> str:
    """Return one line: its place in the topic, the reason why it is not valid, and its bytes."""
    read_as = look(letter.payload)
    return _one_line(
        {
            "topic": letter.topic,
            "message_id": letter.message_id,
            "reason": letter.reason,
            "detail": redact(letter.detail),
            "payload": masked_payload(letter.payload, read_as.event if read_as else None).hex(),
        }
    )


def problem_line(file: str, place: str, problem: Problem) -> str:
    """Return the file, place, field, value and cure of a problem."""
    where = ": ".join(safe(part, 120) for part in (file, place, problem.field) if part)
    value = f' "{safe(problem.value)}":' if problem.value else ""
    return f"{where}:{value} {safe(problem.says, 400)} ({problem.reason})"


def problem_json(file: str, place: str, problem: Problem) -> dict[str, object]:
    """Return the same for programs."""
    return {"file": file, "place": place, **problem._asdict()}


def checked_line(events: int, invalid: int, advised: int) -> str:
    """Return the totals, for the last line."""
    valid = f"{plural(events, 'event')}: {events - invalid} valid, {invalid} not"
    return f"{valid}; advice on {advised} of the valid ones" if advised else valid


def advice_only(problems: list[Problem]) -> bool:
    """Return whether an event is valid but has advice."""
    return bool(problems) and all(is_advice(problem) for problem in problems)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _one_line(value: object) -> str:
    return json.dumps(value).replace("\x7f", "\\u007f")
