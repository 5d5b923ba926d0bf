"""The HTTP endpoints of a service: /healthz (its loop runs), /readyz (it can work now), /metrics.

Listens on 127.0.0.1 unless the settings say otherwise. No answer contains a secret or data of an event.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import structlog
from prometheus_client import CollectorRegistry, make_wsgi_app

from schemas.errors import SettingsError
from settings.version import installed_version

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

log = structlog.get_logger(__name__)


class Health:
    """The state of a service. The loop calls `turned` at every round; parts report why they are not ready."""

    def __init__(
        self, silent_after_seconds: float = 60.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._clock = clock
        self._silent_after = silent_after_seconds
        self._turned_at = clock()
        self._missing: dict[str, str] = {"service": "starting"}
        self._asked: dict[str, Callable[[], str | None]] = {}

    def turned(self) -> None:
        """Record that the loop made another round, even one that only waited."""
        self._turned_at = self._clock()

    def ready(self, part: str) -> None:
        """Record that a part (broker, database, …) works."""
        self._missing.pop(part, None)

    def not_ready(self, part: str, why: str) -> None:
        """Record that a part does not work, and why."""
        self._missing[part] = why

    def ask(self, part: str, wrong: Callable[[], str | None]) -> None:
        """Register a function that returns why a part does not work, or None. Another thread calls it at each request."""
        self._asked[part] = wrong

    def alive(self) -> str | None:
        """Return None while the loop runs, else what is wrong."""
        silent = self._clock() - self._turned_at
        return f"the loop has not turned for {silent:.0f} s" if silent > self._silent_after else None

    def missing(self) -> dict[str, str]:
        """Return the parts that do not work, each with the reason."""
        answers = {part: why for part, wrong in self._asked.items() if (why := wrong()) is not None}
        return {**answers, **self._missing}


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _QuietHandler(WSGIRequestHandler):
    timeout = 30

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name in the base class
        """Log nothing: requests of probes and scrapes are not worth a line."""


@contextmanager
def serve(health: Health, registry: CollectorRegistry, host: str, port: int) -> Iterator[int]:
    """Serve while the block runs. Yield the port, a free one if ``port`` is 0.

    Raises SettingsError when the address is not available.
    """
    metrics = make_wsgi_app(registry)

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            answer: Iterable[bytes] = metrics(environ, start_response)
            return answer
        if path == "/healthz":
            wrong = health.alive()
            return _respond(
                start_response, "503 Service Unavailable" if wrong else "200 OK", wrong or "alive"
            )
        if path == "/readyz":
            missing = health.missing()
            text = "\n".join(f"{part}: {why}" for part, why in sorted(missing.items()))
            return _respond(
                start_response, "503 Service Unavailable" if missing else "200 OK", text or "ready"
            )
        return _respond(start_response, "404 Not Found", "expected /healthz, /readyz or /metrics")

    try:
        server = make_server(host, port, application, server_class=_Server, handler_class=_QuietHandler)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host}:{port}: {error.strerror}. Choose another port."
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="health", daemon=True)
    thread.start()
    log.info(
        "listening",
        address=f"http://{host}:{server.server_port}",
        paths="/healthz /readyz /metrics",
        version=installed_version(),
    )
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _respond(start_response: "StartResponse", status: str, text: str) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
    return [text.encode() + b"\n"]
