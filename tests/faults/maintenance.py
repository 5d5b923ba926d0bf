"""`jobtrail rebuild` while everything else goes on: begun, killed at a step, begun again, until it has ended in order.

A rebuild that says it could not be done (status 2: the database went away, say) is begun again, as it asks for; any other
end but 0 is a failure. Its processes tell their steps to the director as the replicas do.
"""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from testing.services import JOBTRAIL

COULD_NOT = 2
MOST_TRIES = 30


class Rebuilding:
    """The one rebuild of a scenario. Used by the scenario's thread."""

    def __init__(self, settings: Mapping[str, str], database_url: str, folder: Path) -> None:
        self._environment = {**os.environ, **settings, "JOBTRAIL_DATABASE_URL": database_url}
        self._log = folder / "rebuild.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._unfinished = False
        self._tries_left = MOST_TRIES
        self.ended = 0
        """How many have ended in order."""
        self.failures: list[str] = []

    def begin(self) -> None:
        """Start it, or let it go on where the last process left it; nothing when it runs."""
        if self._process is None:
            self._unfinished = True
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(
                    [JOBTRAIL, "rebuild"], env=self._environment, stdout=log, stderr=subprocess.STDOUT
                )

    def tend(self, *, again: bool) -> None:
        """Take note of its end; begin again what was killed or could not be done, and with ``again`` also what is done."""
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
        """Whether one was begun that has not ended."""
        return self._unfinished

    def kill(self) -> None:
        """Whatever is left."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _end_of_log(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-30:])
