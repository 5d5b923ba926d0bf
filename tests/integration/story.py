"""Stories for the tests of answers: events as a publisher sends them, stored by the real fold and writer."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from derive.fold import fold
from schemas.contract import Event
from settings.database import DatabaseSettings
from store.connection import connect
from store.writing.writer import prepare_session, write_batch

NOW = datetime.now(UTC).replace(second=0, microsecond=0)
"""The present of the stories: the command asks about the present, so the events must be recent."""

KINO = "kino"

ERROR_FIELDS = ("category", "type", "message", "stacktrace", "origin", "fingerprint")

CASES = Path(__file__).parent / "cases"


def ago(**units: float) -> int:
    """Return a time before NOW in an event's form, such as ago(minutes=6)."""
    return int((NOW - timedelta(**units)).timestamp() * 1_000_000)


def event(worker: str, job_id: str, state: str, at: int, **fields: Any) -> Event:
    """Return an event of the namespace kino, of a first attempt, with no other fields than these."""
    fields = {"namespace": KINO, "queue": worker.lower(), "attempt": 1, "max_attempts": 3, **fields}
    return Event(worker=worker, job_id=job_id, state=state, occurred_at=at, **fields)


def case(name: str) -> list[Event]:
    """Return the events of a file in cases/, with the file's times."""
    events = []
    for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        fields = json.loads(line)
        if "error" in fields:  # the decoder adds the fields that are not given
            fields["error"] = dict.fromkeys(ERROR_FIELDS, "") | fields["error"]
        events.append(Event(**fields))
    return events


def failure(category: str, message: str, **fields: str) -> dict[str, str]:
    """Return the error of a failing event."""
    given = {
        "type": "MovieNotReady",
        "stacktrace": "Traceback\n  boom",
        "origin": "kino:run",
        "fingerprint": "",
    }
    return {"category": category, "message": message} | given | fields


def placed(root: str, parent: str, depth: int) -> dict[str, Any]:
    """Return the fields of a publisher that knows where in the run a job is."""
    return {"root_job_id": root, "parent_job_id": parent, "depth": depth}


def root_of(job_id: str) -> dict[str, Any]:
    """Return the fields of a root."""
    return {"root_job_id": job_id, "depth": 0}


def store_events(database_url: str, events: Iterable[Event]) -> psycopg.Connection:
    """Store the events; return a connection for reading, which the caller closes."""
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail test") as writing:
        prepare_session(writing)
        write_batch(writing, fold(events))
    return connect(settings, "jobtrail test", autocommit=True)


def incident(pages: int = 136, completed: int = 70, expected: int = 136) -> list[Event]:
    """Return Kino Krakow's import: no executor runs the MovieDetailJobs, so every ShowtimeProcessJob is discarded."""
    sync = root_of("12345")
    events = [
        event(
            "SyncJob",
            "12345",
            "executing",
            ago(minutes=20),
            expected_children={"MoviePageJob": expected},
            **sync,
        ),
        event("SyncJob", "12345", "completed", ago(minutes=10), started_at=ago(minutes=20), **sync),
    ]
    for number in range(pages):
        page = f"page-{number:03}"
        common = {
            **placed("12345", "12345", 1),
            "external_id": f"film:{number}",
            "enqueued_at": ago(minutes=15),
        }
        events.append(event("MoviePageJob", page, "available", ago(minutes=15), **common))
        if number < completed:
            times = {"started_at": ago(minutes=8)}
            events.append(event("MoviePageJob", page, "completed", ago(minutes=7), **times, **common))
            events += _details(page, number) + _showtimes(page, number)
        elif number < completed + 3:
            events.append(event("MoviePageJob", page, "executing", ago(minutes=7), **common))
    return events


def details_of(number: int) -> int:
    """Return how many MovieDetailJobs the page spawns: every seventh page spawns none."""
    return 0 if number % 7 == 6 else 2


def showtimes_of(number: int) -> int:
    """Return how many ShowtimeProcessJobs the page spawns."""
    return 16 if number % 2 else 15


def _details(page: str, number: int) -> list[Event]:
    at = ago(minutes=6)
    return [
        event(
            "MovieDetailJob",
            f"{page}-detail-{each}",
            "available",
            at,
            enqueued_at=at,
            **placed("12345", page, 2),
        )
        for each in range(details_of(number))
    ]


def _showtimes(page: str, number: int) -> list[Event]:
    return [
        event(
            "ShowtimeProcessJob",
            f"{page}-show-{each}",
            "discarded",
            ago(minutes=5),
            source="kino-krakow",
            started_at=ago(minutes=5, seconds=1),
            external_id=f"showtime:{number}-{each}",
            error=failure("movie_not_ready", f"movie {1000 + number} is not ready for showtime {each}"),
            **placed("12345", page, 2),
        )
        for each in range(showtimes_of(number))
    ]
