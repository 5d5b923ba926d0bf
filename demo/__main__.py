"""`python -m demo`, or `make demo`: replays the incident and answers the questions about it. See docs/demo.md.

With --once it ends by itself, else at Ctrl-C. The exit status is 0 when the answers of `jobtrail` equal the workers'
notes, 1 when they differ, and 2 when the demo could not be played.
"""

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from demo.answers import print_answers
from demo.errors import DemoError, Stopped
from demo.fleet import Fleet, fleet
from demo.pipeline import DETAILS
from demo.screen import Screen
from demo.stack import BROKERS, PROGRAMS, ROOT, Stack, stack
from demo.story import INCIDENT_SEED, Story, tell
from demo.watch import check_processes, watch
from demo.work import TRACE_RUN, work
from demo.workplace import ENVIRONMENT_FILE, forget_settings, workplace, write_environment
from schemas.errors import JobtrailError
from servers import lifeline
from servers.errors import ServerUnavailableError

COULD_NOT_BE_PLAYED = 2
_LOOK_EVERY_SECONDS = 0.5


def main(arguments: list[str] | None = None) -> int:
    """Play the demo; return the exit status."""
    options = _options(arguments)
    screen = Screen()
    forget_settings()
    try:
        lifeline.begin()
        with workplace() as directory:
            status = _play(directory, tell(options.seed), options.broker, options.once, screen)
    except BrokenPipeError:  # the reader of our output has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Stopped as stopped:
        screen.say("\nstopped before the end; nothing is left behind.")
        return 128 + stopped.signal_number
    except (DemoError, ServerUnavailableError, JobtrailError) as error:
        screen.say()
        print(f"demo: {error}", file=sys.stderr)
        return COULD_NOT_BE_PLAYED
    if not options.once:
        screen.say("nothing is left behind.")
    return status


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="Play the incident, and answer its questions."
    )
    parser.add_argument("--once", action="store_true", help="end by itself, with the checker's verdict")
    parser.add_argument("--seed", type=int, default=INCIDENT_SEED, metavar="N", help="vary counts and names")
    parser.add_argument("--broker", choices=BROKERS, default=BROKERS[0], help="default: %(default)s")
    return parser.parse_args(arguments)


def _play(directory: Path, story: Story, broker: str, once: bool, screen: Screen) -> int:
    screen.heading(f"Kino {story.city}'s import, seed {story.seed}")
    with ExitStack() as parts:
        running = parts.enter_context(stack(directory, broker, screen))
        write_environment(directory, running.settings, PROGRAMS)
        watching = parts.enter_context(watch(running))
        with screen.step("the site and its workers") as said:
            workers = parts.enter_context(fleet(directory, running, story))
            said(f"{workers.workers.total()} workers, none for {DETAILS}")
        work(directory, running, watching, workers, screen)
        print_answers(screen, running, workers.root, TRACE_RUN)
        screen.heading("Is that what the workers wrote down themselves?")
        status = _check(directory, running, screen)
        if not once:
            _stay(directory, running, workers, screen)
    return status


def _check(directory: Path, running: Stack, screen: Screen) -> int:
    """Run the checker as a separate program; return its exit status."""
    words = ["-m", "demo.checker", str(directory)]
    screen.quote(f"python {' '.join(words)}")
    return subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=running.environment(), check=False
    ).returncode


def _stay(directory: Path, running: Stack, workers: Fleet, screen: Screen) -> None:
    """Leave everything running until Ctrl-C."""
    screen.heading("Look further: all of it stays until Ctrl-C. In another terminal:")
    screen.say(
        f"""\
    . {directory / ENVIRONMENT_FILE}
    jobtrail lineage tree {workers.root}
    jobtrail failures list
    jobtrail --help
    curl -s {running.metrics_url}/metrics

The end of the incident: from this folder, start the worker that nobody
had started, and ask for the tree again.

    python -m demo.worker {DETAILS} late {directory}"""
    )
    try:
        while True:
            check_processes()
            time.sleep(_LOOK_EVERY_SECONDS)
    except Stopped:
        screen.say("\nstopping …")


if __name__ == "__main__":
    sys.exit(main())
