"""Serves the cinema's web site: `python -m demo.site SEED PORT`. A request for a slow page is never answered.

The SyncJob reads `/programme`, a MoviePageJob reads `/pages/…`. `/held` lists the requests that are held now.
"""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from demo.story import Page, Story, tell
from servers.ports import HOST


class _Site(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, story: Story, port: int) -> None:
        super().__init__((HOST, port), _Handler)
        self.story = story
        self.pages = {f"/pages/{page.slug}": page for page in story.pages}
        self.held: set[str] = set()
        self.for_ever = threading.Event()


class _Handler(BaseHTTPRequestHandler):
    server: _Site

    def do_GET(self) -> None:  # the base class names it so
        """Answer with JSON."""
        page = self.server.pages.get(self.path)
        if self.path == "/programme":
            story = self.server.story
            self._respond(
                200, {"announced": story.announced, "source": story.source, "pages": list(self.server.pages)}
            )
        elif self.path == "/held":
            self._respond(200, sorted(self.server.held))
        elif page is None:
            self._respond(404, {"error": f"no page {self.path}"})
        else:
            if page.is_slow:
                self.server.held.add(page.slug)
                self.server.for_ever.wait()
            self._respond(200, _content(page))

    def _respond(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class names it so
        """Log nothing: nobody reads the demo's access log."""


def _content(page: Page) -> dict[str, Any]:
    return {
        "movies": [movie._asdict() for movie in page.movies],
        "showtimes": [showtime._asdict() for showtime in page.showtimes],
    }


if __name__ == "__main__":
    _Site(tell(int(sys.argv[1])), int(sys.argv[2])).serve_forever()
