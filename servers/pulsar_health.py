"""Checks whether a standalone broker is up, with plain HTTP requests to its admin REST."""

import json
import urllib.error
import urllib.request


def answers(admin_url: str) -> bool:
    """Return whether a standalone broker has finished starting, whose last step is this namespace, and is healthy."""
    namespaces = _get(f"{admin_url}/admin/v2/namespaces/public")
    return isinstance(namespaces, list) and "public/default" in namespaces and is_healthy(admin_url)


def is_healthy(admin_url: str) -> bool:
    """Return whether the broker passes its own check: it sends a message and receives it."""
    return _get(f"{admin_url}/admin/v2/brokers/health") == "ok"


def _get(url: str) -> object:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            body = answer.read().decode()
    except (OSError, urllib.error.URLError):
        return None
    try:
        return json.loads(body)
    except ValueError:
        return body
