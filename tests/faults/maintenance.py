"""`jobtrail rebuild` beside everything else: started, killed at a step, and started again until it succeeds.

A rebuild that ends with 2, for example because the database went away, is started again, as its message recommends; any other
status but 0 is a failure. Its processes report their steps to the director as the replicas do.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from testing.services import JOBTRAIL

COULD_NOT = 2
MOST_TRIES = 30


class Rebuilding:
    """The rebuild of a scenario. Only the scenario's thread uses it."""

    def __init__(self, settings: Mapping[str, str], database_url: str, folder: Path) -> None:
        self._environment = {**os.environ, **settings, "JOBTRAIL_DATABASE_URL": database_url}
        self._log = folder / "rebuild.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._unfinished = False
        self._tries_left = MOST_TRIES
        self.ended = 0
        """How many rebuilds have succeeded."""
        self.failures: list[str] = []

    def begin(self) -> None:
        """Start it, or continue where the last process stopped; do nothing if it runs."""
        if self._process is None:
            self._unfinished = True
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [JOBTRAIL, "rebuild"], env=self._environment, stdout=log, stderr=subprocess.STDOUT
                )

    def tend(self, *, again: bool) -> None:
        """Record its end. Start it again if it was killed or could not be done, and with ``again`` also if it succeeded."""
        if self._process is None:
            if again:
                self.begin()
            return
        status = self._process.poll()
        if status is None:
            return
        self._process = None
        if status == 0:
            self._unfinished = False
            self.ended += 1
        elif status in (COULD_NOT, -9) and self._tries_left:
            self._tries_left -= 1
        else:
            self._unfinished = False
            self.failures.append(f"`jobtrail rebuild` ended with status {status}:\n{self._end_of_log()}")
            return
        if again or self._unfinished:
            self.begin()

    @property
    def is_unfinished(self) -> bool:
        """Return whether a rebuild was started and has not ended."""
        return self._unfinished

    def kill(self) -> None:
        """Kill its process, if it still runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
