"""Starts and stops the cinema's site and the worker processes that scrape it.

The queue of MovieDetailJobs gets no worker: that is the incident.
"""

import contextlib
import json
import sqlite3
import sys
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import jobtrail
from demo.pipeline import DETAILS, PAGES, SHOWTIMES, SITE_FILE, SYNC, Child, Place, spawn
from demo.queues import Queues
from demo.stack import ROOT, Stack
from demo.story import Story
from demo.tally import Tally
from servers import processes
from servers.ports import HOST, free_ports

NAMESPACE = "cinegraph"
_SHOWTIME_WORKERS = 2
_START_TIMEOUT_SECONDS = 60
_FLUSH_TIMEOUT_SECONDS = 20


@dataclass(frozen=True)
class Fleet:
    """The number of running workers, by queue; ``root`` is the id of the SyncJob."""

    site: str
    queues: Queues
    workers: Counter[str]
    root: str

    def is_at_rest(self) -> bool:
        """Return whether nothing more can happen: other workers have no job, and the site holds every page worker."""
        load = self.queues.load()
        busy = sum(load[queue].running for queue in load if queue != PAGES)
        left = sum(load[queue].waiting for queue in (SYNC, SHOWTIMES) if queue in load)
        pages = load.get(PAGES)
        return (
            not busy
            and not left
            and pages is not None
            and pages.running == self.workers[PAGES] == len(_get(f"{self.site}/held"))
        )


@contextlib.contextmanager
def fleet(directory: Path, running: Stack, story: Story) -> Iterator[Fleet]:
    """Start the site and the workers, put the SyncJob into its queue, and yield; kill them at the end of the block."""
    (port,) = free_ports(1)
    site = f"http://{HOST}:{port}"
    workers = Counter({SYNC: 1, PAGES: story.page_workers, SHOWTIMES: _SHOWTIME_WORKERS, DETAILS: 0})
    queues = Queues.create(directory / "queues.sqlite", story.first_job_id)
    (directory / SITE_FILE).write_text(site)
    _make_films(directory / "films.sqlite")
    with closing(queues), contextlib.ExitStack() as started:
        server = _start(started, directory, running, "site", "demo.site", str(story.seed), str(port))
        server.wait_until(lambda: _answers(site), _START_TIMEOUT_SECONDS)
        for queue, count in workers.items():
            for number in range(1, count + 1):
                name = f"{queue}-{number}"
                _start(started, directory, running, name, "demo.worker", queue, name, str(directory))
        yield Fleet(site, queues, workers, _begin(directory, running, story, queues, site))


def _begin(directory: Path, running: Stack, story: Story, queues: Queues, site: str) -> str:
    """Put the SyncJob into its queue as a scheduler would: this process is a publisher too."""
    jobtrail.configure(
        pulsar_url=running.settings["JOBTRAIL_PULSAR_URL"],
        spool_dir=running.settings["JOBTRAIL_SPOOL_DIR"],
        namespace=NAMESPACE,
        release="demo",
    )
    with closing(Tally(directory / "tally", "schedule")) as tally:
        place = Place(site, directory / "films.sqlite", queues, tally)
        sync = Child(SYNC, "SyncJob", f"programme:{story.city}", {"city": story.city})
        (root,) = spawn(place, None, [sync], story.source)
    jobtrail.shutdown(_FLUSH_TIMEOUT_SECONDS)
    return str(root)


def _start(
    started: contextlib.ExitStack, directory: Path, running: Stack, name: str, module: str, *words: str
) -> processes.ServerProcess:
    process = processes.start(
        f"the process {name}",
        [sys.executable, "-m", module, *words],
        log=directory / f"{name}.log",
        directory=ROOT,
        environment=running.environment(JOBTRAIL_NAMESPACE=NAMESPACE, JOBTRAIL_RELEASE="demo"),
    )
    started.callback(process.kill)  # a worker in a held fetch ends in no other way
    return process


def _make_films(path: Path) -> None:
    with closing(sqlite3.connect(path)) as films:
        films.executescript(
            "PRAGMA journal_mode = WAL;"
            "CREATE TABLE films (movie_id INTEGER PRIMARY KEY);"
            "CREATE TABLE screenings (movie_id INTEGER NOT NULL, starts_at TEXT NOT NULL);"
        )


def _answers(site: str) -> bool:
    try:
        return _get(f"{site}/held") == []
    except OSError:
        return False


def _get(url: str) -> list[str]:
    with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310  # our own site
        held: list[str] = json.load(answer)
    return held
