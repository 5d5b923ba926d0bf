"""Programs that publish by the SDK with a spool: killed at any moment, and the broker too, they lose no accepted event.

Each records the job ids of events that the broker or the spool accepted; all of them must finally be in the topic.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

_PROGRAM = Path(__file__).parents[2] / "workers" / "tests" / "tally_worker.py"
PROCESSES = 2
GROUP_EVENTS = 10
PAUSE_SECONDS = 0.2
DRAINED_WITHIN_SECONDS = 120

_DRAIN = f"""
import jobtrail, os, sys, time
jobtrail.event(job_id="the last", worker="W", state="completed")
end = time.monotonic() + {DRAINED_WITHIN_SECONDS}
while os.listdir(os.environ["JOBTRAIL_SPOOL_DIR"]) and time.monotonic() < end:
    time.sleep(0.1)
sys.exit(1 if os.listdir(os.environ["JOBTRAIL_SPOOL_DIR"]) else 0)
"""


class SdkWorkers:
    """One program of several processes, started again after each kill."""

    def __init__(self, url: str, topic: str, folder: Path) -> None:
        self._folder = folder
        self._tally, self._spool = folder / "promised", folder / "spool"
        self._tally.mkdir()
        self._spool.mkdir()
        self._environment = {
            **os.environ,
            "JOBTRAIL_PULSAR_URL": url,
            "JOBTRAIL_TOPIC": topic,
            "JOBTRAIL_NAMESPACE": "faults-sdk",
            "JOBTRAIL_SPOOL_DIR": str(self._spool),
            "JOBTRAIL_SPOOL_AFTER_SECONDS": "0.5",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Publish until killed."""
        self._process = self._run(
            [
                *(str(_PROGRAM), str(self._tally), "--processes", str(PROCESSES)),
                *("--group", str(GROUP_EVENTS), "--pause", str(PAUSE_SECONDS)),
            ]
        )

    def kill(self) -> None:
        """Kill all its processes."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def finish(self) -> set[str]:
        """Kill it, let another program send the rest of the spool, and return the job ids that were promised.

        Raises RuntimeError if the spool is not empty then.
        """
        if self._process is None:
            return set()
        self.kill()
        status = self._run(["-c", _DRAIN]).wait()
        if status:
            raise RuntimeError(
                f"the spool is not sent after {DRAINED_WITHIN_SECONDS} s: {sorted(self._spool.iterdir())}"
            )
        return {line for path in self._tally.glob("*.accepted") for line in path.read_text().split("\n")[:-1]}

    def _run(self, words: list[str]) -> subprocess.Popen[bytes]:
        with (self._folder / "workers.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *words],
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its processes are killed together
            )
