"""The scraping pipeline: four kinds of jobs. It shows what code instrumented with the SDK looks like.

A SyncJob reads the programme and spawns a MoviePageJob for each page. A MoviePageJob spawns a MovieDetailJob for each
film and a ShowtimeProcessJob for each screening. A screening can be stored only when its film's details are stored.
"""

import json
import sqlite3
import urllib.request
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jobtrail
from demo.queues import Queues, Task
from demo.tally import Tally

SYNC, PAGES, DETAILS, SHOWTIMES = "sync", "movie_pages", "movie_details", "showtimes"
FETCH_TIMEOUT_SECONDS = 60 * 60
SITE_FILE = "site"
"""The file in the demo's folder that contains the site's URL."""


class MovieNotReady(Exception):
    """The details of a screening's film have not been fetched yet."""


class PageBroken(Exception):
    """The site's answer was not a page."""


CATEGORIES = {MovieNotReady: "movie_not_ready", PageBroken: "page_broken"}
"""The category of each of our exceptions, for jobtrail."""


class Child(NamedTuple):
    """A job to be spawned."""

    queue: str
    worker: str
    external_id: str
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """What the jobs of this process use: the site, the database of films, the queues, and the process's own tally."""

    site: str
    films: Path
    queues: Queues
    tally: Tally


def sync(place: Place, task: Task) -> None:
    """Read the programme, and spawn a MoviePageJob for each of its pages."""
    programme = fetch(f"{place.site}/programme")
    jobtrail.expect("MoviePageJob", programme["announced"])
    place.tally.record(task.job_id, task.worker, expected={"MoviePageJob": programme["announced"]})
    spawn(
        place,
        task,
        [
            Child(PAGES, "MoviePageJob", f"page:{path.rpartition('/')[2]}", {"path": path})
            for path in programme["pages"]
        ],
    )


def movie_page(place: Place, task: Task) -> None:
    """Read a page, and spawn the jobs for its films and their screenings."""
    page = fetch(place.site + task.args["path"])
    titles = {movie["movie_id"]: movie["title"] for movie in page["movies"]}
    details = [
        Child(DETAILS, "MovieDetailJob", f"movie:{movie['movie_id']}", {"movie_id": movie["movie_id"]})
        for movie in page["movies"]
        if movie["has_details"]
    ]
    showtimes = [
        Child(
            SHOWTIMES,
            "ShowtimeProcessJob",
            f"movie:{showtime['movie_id']}",
            {**showtime, "title": titles[showtime["movie_id"]]},
        )
        for showtime in page["showtimes"]
    ]
    spawn(place, task, details + showtimes)


def showtime_process(place: Place, task: Task) -> None:
    """Store a screening. Raises MovieNotReady when the film's details are not stored."""
    movie_id, title = task.args["movie_id"], task.args["title"]
    with closing(sqlite3.connect(place.films)) as films:
        if films.execute("SELECT 1 FROM films WHERE movie_id = ?", (movie_id,)).fetchone() is None:
            raise MovieNotReady(f"movie {movie_id} {title!r} has no details yet, at {task.args['starts_at']}")
        films.execute("INSERT INTO screenings VALUES (?, ?)", (movie_id, task.args["starts_at"]))
        films.commit()


def movie_detail(place: Place, task: Task) -> None:
    """Fetch the details of a film. (Nobody has started a worker for this queue: that is the incident.)"""
    with closing(sqlite3.connect(place.films)) as films:
        films.execute("INSERT INTO films VALUES (?)", (task.args["movie_id"],))
        films.commit()


JOBS: dict[str, Callable[[Place, Task], None]] = {
    "SyncJob": sync,
    "MoviePageJob": movie_page,
    "MovieDetailJob": movie_detail,
    "ShowtimeProcessJob": showtime_process,
}


def spawn(place: Place, parent: Task | None, children: list[Child], source: str = "") -> range:
    """Put jobs into their queues, with jobtrail's headers, as children of the running job.

    Returns their ids.
    """
    tasks = []
    job_ids = place.queues.reserve(len(children))
    for job_id, child in zip(job_ids, children, strict=True):
        headers = jobtrail.enqueued(
            child.worker,
            job_id=str(job_id),
            queue=child.queue,
            source=source,
            external_id=child.external_id,
            args=child.args,
        )
        tasks.append(Task(job_id, child.queue, child.worker, child.args, headers))
        place.tally.record(
            job_id,
            child.worker,
            state="available",
            parent=str(parent.job_id) if parent else "",
            external_id=child.external_id,
        )
    place.queues.put(tasks)
    return job_ids


def fetch(url: str) -> Any:
    """Get a page of the site."""
    with urllib.request.urlopen(url, timeout=FETCH_TIMEOUT_SECONDS) as answer:  # noqa: S310  # our own site
        try:
            return json.load(answer)
        except ValueError as error:
            raise PageBroken(f"{url}: expected JSON: {error}") from error
