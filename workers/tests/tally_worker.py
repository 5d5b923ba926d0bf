"""A publishing process that records which events were accepted. After faults, the tables are compared with its records.

    python workers/tests/tally_worker.py TALLY_DIR [--events N] [--group N] [--pause SECONDS] [--processes N]

Settings come from the environment (JOBTRAIL_PULSAR_URL, JOBTRAIL_TOPIC, JOBTRAIL_SPOOL_DIR, …). Each process is forked from
the first, as in prefork servers. It writes one job id per line to `TALLY_DIR/<pid>-<random>.accepted`, after `flush()` has
confirmed that the broker or the spool has the event. A job listed there must arrive; any other may or may not.
"""

import argparse
import logging
import os
import sys
import time
from pathlib import Path

import jobtrail


def main() -> None:
    """Publish until `--events` of each process were accepted; 0 means for ever."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("tally", type=Path)
    parser.add_argument("--events", type=int, default=0)
    parser.add_argument("--group", type=int, default=20, help="events between two calls of flush()")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--processes", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(process)d %(message)s")
    children: list[int] = []
    for _ in range(options.processes - 1):
        child = os.fork()
        if child == 0:
            children = []
            break
        children.append(child)
    publish(options.tally, options.events, options.group, options.pause)
    status = 0
    for child in children:
        status |= os.waitpid(child, 0)[1]
    sys.exit(1 if status else 0)


def publish(tally: Path, events: int, group: int, pause: float) -> None:
    """Publish groups of events, and record each group that was accepted as a whole."""
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    number = 0
    with (tally / f"{name}.accepted").open("a", encoding="utf-8") as file:
        while not events or number < events:
            ids = [f"{name}-{number + index}" for index in range(group)]
            number += group
            dropped = jobtrail.stats().dropped
            taken = [
                jobtrail.event(job_id=job_id, worker="Tallied", queue="tally", state="completed")
                for job_id in ids
            ]
            if jobtrail.flush(60) and all(taken) and jobtrail.stats().dropped == dropped:
                file.write("".join(f"{job_id}\n" for job_id in ids))
                file.flush()
            time.sleep(pause)


if __name__ == "__main__":
    main()
