"""Prints the answers at the end of the demo: each question, the command that answers it, and its output."""

from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from demo.screen import Screen
from demo.stack import Stack
from demo.watch import page

_METRIC = "jobtrail_failures_total"


class Question(NamedTuple):
    """A question, and the words after `jobtrail` that answer it."""

    asked: tuple[str, ...]
    words: tuple[str, ...]


def questions(root: str, imported: str) -> list[Question]:
    """Return the questions about the incident, in the order in which one would ask them, and two more."""
    return [
        Question(("What became of the import?",), ("lineage", "tree", root)),
        Question(
            (
                "1. Did the SyncJob start all the MoviePageJobs it meant to?",
                "2. Which completed MoviePageJobs spawned no MovieDetailJob?",
            ),
            ("lineage", "gaps", root),
        ),
        Question(
            ("3. Do the waiting MovieDetailJobs belong to one run?",),
            _jobs(root, "MovieDetailJob", "available"),
        ),
        Question(("4. Why do they not execute?",), ("lineage", "stats", root)),
        Question(
            ("5. Which ShowtimeProcessJobs failed, for which MoviePageJob and film?",),
            _jobs(root, "ShowtimeProcessJob", "discarded"),
        ),
        Question(("What failed, in how many ways?",), ("failures", "list")),
        Question(("How well does each source do?",), ("sources",)),
        Question(("Which runs are there?",), ("runs", "list")),
        Question(
            ("An imported run, recorded in the real world: what had to finish first?",),
            ("lineage", "tree", imported, "--edges", "depends_on"),
        ),
    ]


def _jobs(root: str, worker: str, state: str) -> tuple[str, ...]:
    return ("lineage", "jobs", root, "--worker", worker, "--state", state, "--limit", "3")


def print_answers(screen: Screen, running: Stack, root: str, imported: str) -> None:
    """Ask every question and print the answers. Raises DemoError."""
    asked = questions(root, imported)
    # Half of the time is the start of the command, so two run at once; the answers are printed in order.
    with ThreadPoolExecutor(2) as pool:
        answers = pool.map(lambda question: running.command(*question.words), asked)
        for question, answer in zip(asked, answers, strict=True):
            screen.heading(*question.asked)
            screen.quote(f"jobtrail {' '.join(question.words)}")
            screen.show(answer)
    screen.heading("What Prometheus scrapes")
    screen.quote(f"curl -s {running.metrics_url}/metrics | grep ^{_METRIC}")
    samples = [line for line in page(running.metrics_url).splitlines() if line.startswith(_METRIC)]
    for sample in samples:
        screen.say(sample)
