"""Events as they pass by, one line each, for people and as JSON; and what was found wrong with events in files."""

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
from store.answers.dead_letters import shown_message_id

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES = ("occurred_at", "enqueued_at", "scheduled_at", "started_at")
_STATE_WIDTH = len("suspended")


def event_line(event: Event) -> str:
    """When, which state, which job, and what else there is to say of it."""
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
    """A message that is no valid event: published when, and why it is none."""
    published = f"{_time(letter.publish_time_us):%Y-%m-%d %H:%M:%S.%f}"[:-3] + "Z"
    reason, message = safe(letter.reason), safe(shown_message_id(letter.message_id), 80)
    return f"{published}  ⚠ {reason}  message {message}, {plural(len(letter.payload), 'byte')}: {safe(redact(letter.detail), 400)}"


def event_json(event: Event, topic: str, message_id: str) -> str:
    """One line: where it stands in the topic, and all its fields, times in RFC 3339 (null: not known)."""
    fields = redacted_event(event._asdict())
    for name in _TIMES:
        fields[name] = moment(_time(fields[name])) if fields[name] else None
    return _one_line({"topic": topic, "message_id": message_id, "event": fields})


def invalid_json(letter: DeadLetter) -> str:
    """One line: where it stands, why it is no event, and its bytes."""
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
    """File, place, field, value and cure."""
    where = ": ".join(safe(part, 120) for part in (file, place, problem.field) if part)
    value = f' "{safe(problem.value)}":' if problem.value else ""
    return f"{where}:{value} {safe(problem.says, 400)} ({problem.reason})"


def problem_json(file: str, place: str, problem: Problem) -> dict[str, object]:
    """The same for programs."""
    return {"file": file, "place": place, **problem._asdict()}


def checked_line(events: int, invalid: int, advised: int) -> str:
    """The sum at the end."""
    valid = f"{plural(events, 'event')}: {events - invalid} valid, {invalid} not"
    return f"{valid}; advice on {advised} of the valid ones" if advised else valid


def advice_only(problems: list[Problem]) -> bool:
    """Is there something to say of an event that is valid all the same?"""
    return bool(problems) and all(is_advice(problem) for problem in problems)


def _time(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)


def _one_line(value: object) -> str:
    return json.dumps(value).replace("\x7f", "\\u007f")
