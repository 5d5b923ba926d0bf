"""Stories for the tests of answers: events as a publisher would send them, told to the real fold, writer and tables."""

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
"""When the stories are told: the command asks about the present, so they may not grow old."""

KINO = "kino"

ERROR_FIELDS = ("category", "type", "message", "stacktrace", "origin", "fingerprint")

CASES = Path(__file__).parent / "cases"


def ago(**units: float) -> int:
    """A time before NOW as an event carries it: ago(minutes=6)."""
    return int((NOW - timedelta(**units)).timestamp() * 1_000_000)


def event(worker: str, job_id: str, state: str, at: int, **fields: Any) -> Event:
    """One event of the namespace kino, first attempt, nothing known but what is given."""
    said = {"namespace": KINO, "queue": worker.lower(), "attempt": 1, "max_attempts": 3, **fields}
    return Event(worker=worker, job_id=job_id, state=state, occurred_at=at, **said)


def case(name: str) -> list[Event]:
    """The events of a file in cases/, with the times that it says."""
    events = []
    for line in (CASES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
        said = json.loads(line)
        if "error" in said:  # as the decoder fills up what is not said
            said["error"] = dict.fromkeys(ERROR_FIELDS, "") | said["error"]
        events.append(Event(**said))
    return events


def failure(category: str, message: str, **fields: str) -> dict[str, str]:
    """The error of a failing event."""
    given = {
        "type": "MovieNotReady",
        "stacktrace": "Traceback\n  boom",
        "origin": "kino:run",
        "fingerprint": "",
    }
    return {"category": category, "message": message} | given | fields


def placed(root: str, parent: str, depth: int) -> dict[str, Any]:
    """The fields of a publisher that knows where in the run a job is."""
    return {"root_job_id": root, "parent_job_id": parent, "depth": depth}


def root_of(job_id: str) -> dict[str, Any]:
    """The fields of a root."""
    return {"root_job_id": job_id, "depth": 0}


def tell(database_url: str, events: Iterable[Event]) -> psycopg.Connection:
    """Store the events; returns a connection that reads. The caller closes it."""
    settings = DatabaseSettings.load(database_url=database_url)
    with connect(settings, "jobtrail test") as writing:
        prepare_session(writing)
        write_batch(writing, fold(events))
    return connect(settings, "jobtrail test", autocommit=True)


def incident(pages: int = 136, completed: int = 70, expected: int = 136) -> list[Event]:
    """Kino Krakow's import: nobody runs the MovieDetailJobs, so every ShowtimeProcessJob is discarded."""
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
    """How many MovieDetailJobs the page spawns: every seventh spawns none."""
    return 0 if number % 7 == 6 else 2


def showtimes_of(number: int) -> int:
    """How many ShowtimeProcessJobs the page spawns."""
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
