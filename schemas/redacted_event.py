"""Redacts events and payloads before people see them.

The SDK redacts what it publishes. Not all other publishers do, so the commands redact what they show, by the same rules. The
stored rows stay as they were published, because a rebuild must derive the same rows.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from schemas.redaction import REDACTED, Redactor, redact

_BY_NAME: Final = Redactor()
_ADDRESSES: Final = ("external_id", "source")
# A shorter secret would match all over a payload.
_SHORTEST_SECRET: Final = 3


def redacted_event(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event's fields with the secrets in message, stack trace, args, meta and addresses redacted.

    Fields may be missing or have any type: what a released schema decodes from a damaged payload is not a valid event.
    """
    return _redacted_event(fields, Redactor())


def redacted_value(value: Any) -> Any:
    """Return a JSON value with secrets redacted: in its texts, and by the names of keys."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {
            name: REDACTED if _BY_NAME.hides(str(name), item) else redacted_value(item)
            for name, item in value.items()
        }
    return [redacted_value(item) for item in value] if isinstance(value, list) else value


def masked_payload(payload: bytes, fields: Mapping[str, Any] | None) -> bytes:
    """Return the bytes of an event with its secrets replaced by asterisks. All other bytes keep their places.

    ``fields`` are those decoded from the payload; None if no schema can decode it.
    """
    found: list[str] = []

    def note(secret: str) -> str:
        found.append(secret)
        return REDACTED

    if fields is not None:
        _redacted_event(fields, Redactor(hide=note))
    for secret in sorted(set(found), key=len, reverse=True):
        encoded = secret.encode("utf-8", "surrogatepass")
        if len(encoded) >= _SHORTEST_SECRET:
            payload = payload.replace(encoded, b"*" * len(encoded))
    # One character a byte, whatever the bytes are.
    return Redactor(hide=lambda secret: "*" * len(secret)).trace(payload.decode("latin-1")).encode("latin-1")


def _redacted_event(fields: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    event = dict(fields)
    for name in _ADDRESSES:
        if isinstance(value := event.get(name), str) and "://" in value:
            event[name] = redactor.text(value)
    _replace(event, "args", redactor.text)
    if isinstance(error := event.get("error"), Mapping):
        event["error"] = dict(error)
        _replace(event["error"], "message", redactor.text)
        _replace(event["error"], "stacktrace", redactor.trace)
    if isinstance(meta := event.get("meta"), Mapping):
        event["meta"] = {name: _of_name(name, value, redactor) for name, value in meta.items()}
    return event


def _replace(fields: dict[str, Any], name: str, redact: Callable[[str], str]) -> None:
    if isinstance(value := fields.get(name), str):
        fields[name] = redact(value)


def _of_name(name: object, value: object, redactor: Redactor) -> object:
    if not isinstance(value, str):
        return value
    return redactor.hide(value) if redactor.hides(str(name), value) else redactor.text(value)
