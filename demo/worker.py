"""A worker process: `python -m demo.worker QUEUE NAME DIRECTORY` runs the jobs of one queue, one at a time.

It runs until it is killed. It reports to jobtrail through the SDK, and also notes each step in its own tally.
"""

import sys
import time
from pathlib import Path

import jobtrail
from demo.pipeline import CATEGORIES, JOBS, SITE_FILE, Place
from demo.queues import Queues, Task
from demo.tally import Tally

POLL_SECONDS = 0.05


def main(queue: str, name: str, directory: Path) -> None:
    """Take jobs and run them, for ever."""
    jobtrail.configure(categories=CATEGORIES, own_code=("demo.pipeline",))
    place = Place(
        site=(directory / SITE_FILE).read_text(),
        films=directory / "films.sqlite",
        queues=Queues(directory / "queues.sqlite"),
        tally=Tally(directory / "tally", name),
    )
    while True:
        task = place.queues.take(queue)
        if task is None:
            time.sleep(POLL_SECONDS)
        else:
            run(place, task)


def run(place: Place, task: Task) -> None:
    """Run one job, and note how it ended."""
    place.tally.record(task.job_id, task.worker, state="executing")
    try:
        with jobtrail.job(headers=task.headers, max_attempts=1):
            JOBS[task.worker](place, task)
    except tuple(CATEGORIES) as error:
        kind = type(error)
        place.tally.record(
            task.job_id,
            task.worker,
            state="discarded",
            category=CATEGORIES[kind],
            error_type=f"{kind.__module__}.{kind.__qualname__}",
        )
    else:
        place.tally.record(task.job_id, task.worker, state="completed")
    place.queues.end(task)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
