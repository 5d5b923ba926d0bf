"""Check with a TCP connection whether anything listens where the broker should be, before the library tries.

The library tries for a long time, with pauses that grow to a minute, and then says little.
"""

import re
import socket

from schemas.errors import BrokerError
from schemas.redaction import shown_url
from settings.broker import BrokerSettings

_TIMEOUT_SECONDS = 2.0
_DEFAULT_PORT = 6650
_DEFAULT_TLS_PORT = 6651


def check_reachable(settings: BrokerSettings) -> None:
    """Return when one of the URL's hosts accepts a connection. Raises BrokerError that says why none does."""
    why = []
    for host, port in _addresses(settings.pulsar_url):
        try:
            socket.create_connection((host, port), timeout=_TIMEOUT_SECONDS).close()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host cannot have this name
            why.append(f"{host}:{port}: {getattr(error, 'strerror', None) or error}")
        else:
            return
    if why:  # otherwise the URL has no host, and the library says what is wrong with it
        raise BrokerError(
            f"nothing takes connections at {shown_url(settings.pulsar_url)} ({'; '.join(why)}). Is the broker running, "
            "and is JOBTRAIL_PULSAR_URL its address?"
        )


def _addresses(url: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of pulsar://host:port,host:port/…"""
    scheme, _, rest = shown_url(url).partition("://")
    default = _DEFAULT_TLS_PORT if scheme.endswith("+ssl") else _DEFAULT_PORT
    found = []
    for part in rest.split("/", 1)[0].split(","):
        match = re.fullmatch(r"\[?([^\[\]]+?)\]?(?::(\d{1,5}))?", part.strip())
        if match:
            found.append((match[1], int(match[2] or default)))
    return found
