"""The spool: a directory of segments on disk, for events that the broker does not take now. Processes share it.

A segment belongs to the process that has locked it: first the one that writes it, later the one that sends it. When it
was closed, or its process died, any process may lock it. It is removed when the broker has all of its events. An event
is accepted when its record is written and fsync has returned; until then it may be cut off again.

Only the SDK's own threads call this, never a job's thread.
"""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from jobtrail import _locked
from jobtrail._contract import SCHEMA_TEXT
from jobtrail._counts import REPORT_INTERVAL_SECONDS, Counts
from jobtrail._segment import Contents, Destination, Message, head, read, records

logger = logging.getLogger("jobtrail")

SEGMENT_BYTES: Final = 4 * 1024 * 1024
SUFFIX: Final = ".segment"
_NEW: Final = ".new"
# A file that a killed process never finished is removed after this.
_UNFINISHED_SECONDS: Final = 3_600
# The pause before the next try after the spool was full or the disk failed.
PAUSE_SECONDS: Final = 1.0


class Segment:
    """A segment that this process writes, and keeps locked until it closes or removes it."""

    def __init__(self, path: Path, destination: Destination) -> None:
        """Create the file. Raises OSError."""
        self.path = path
        unfinished = path.with_suffix(_NEW)
        self._descriptor = _locked.create(unfinished)
        if self._descriptor < 0:
            raise OSError(f"{unfinished} is locked by another process")
        self.size = 0
        try:
            self.write(head(destination, SCHEMA_TEXT))
            self.empty_size = self.size
            # Other processes look only at finished names, so they never see a file that is not locked yet.
            os.rename(unfinished, path)
        except OSError:
            self._unlink(unfinished)
            self.close()
            raise

    def write(self, data: bytes) -> None:
        """Append data, all of it or nothing. Raises OSError."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.cut(self.size)
            raise
        self.size += len(data)

    def cut(self, size: int) -> None:
        """Cut the file back to ``size`` bytes. At worst a failure leaves a record that its CRC reveals as damaged."""
        try:
            os.ftruncate(self._descriptor, size)
            os.lseek(self._descriptor, size, os.SEEK_SET)
        except OSError as error:
            logger.debug("could not cut %s: %r", self.path, error)
        self.size = size

    def sync(self) -> None:
        """Wait until the data is on disk. Raises OSError."""
        os.fsync(self._descriptor)

    def close(self) -> None:
        """Release it for any process. A segment without an event is removed."""
        if self._descriptor >= 0 and self.size <= getattr(self, "empty_size", 0):
            self._unlink(self.path)
        descriptor, self._descriptor = self._descriptor, -1
        _locked.close(descriptor)

    def remove(self) -> None:
        """Remove it, because the broker has its events."""
        self.size = 0
        self.close()

    @staticmethod
    def _unlink(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.debug("could not remove %s: %r", path, error)


class Claimed:
    """A segment that this process sends. No other process does until it is closed."""

    def __init__(self, path: Path, descriptor: int, contents: Contents) -> None:
        self.path = path
        self._descriptor = descriptor
        self.schema = contents.schema
        self.messages = contents.messages
        self.sent = 0

    def remove(self) -> None:
        """Remove it, because the broker has all of it. If it stays, it is sent again; duplicates change nothing."""
        Segment._unlink(self.path)
        self.close()

    def close(self) -> None:
        """Release it for any process."""
        _locked.close(self._descriptor)


class Spool:
    """One process's view of a spool directory."""

    def __init__(
        self,
        directory: Path,
        max_bytes: int,
        destination: Destination,
        counts: Counts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.directory = directory
        self.trouble = ""
        """Why the spool takes no events now: "full", "failed", or empty when it takes them."""
        self._max_bytes = max_bytes
        self._destination = destination
        self._counts = counts
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Segment | None = None
        self._pause_until = 0.0
        self._said: dict[str, float] = {}
        self._left_alone: set[str] = set()
        self._damage_counted: set[str] = set()
        self._number = 0

    def append(self, messages: Sequence[Message]) -> bool:
        """Accept all of these events or none; return whether they are on disk. Never raises."""
        with self._lock:
            if self._current is not None and self._current.size >= SEGMENT_BYTES:
                self._close_current()
            accepted = self._write(messages, lambda: self._current or self._begin())
            if accepted is None:
                self._close_current()
            else:
                self._current = accepted
            return accepted is not None

    def insure(self, messages: Sequence[Message]) -> Segment | None:
        """Accept events that are being sent, in a segment of their own, which is removed if the sending succeeds."""
        with self._lock:
            return self._write(messages, self._new_segment)

    def seal(self) -> None:
        """Close the segment being written, so that it can be sent."""
        with self._lock:
            self._close_current()

    def claim(self) -> Claimed | None:
        """Lock and return a segment that waits for this destination; None when there is none. Never raises."""
        try:
            for path in self._waiting():
                claimed = self._claim(path)
                if claimed is not None:
                    return claimed
        except FileNotFoundError:
            return None
        except Exception as error:
            self._say("reading", f"cannot read the spool in {self.directory}: {error}")
        return None

    def leave(self, claimed: Claimed, reason: str) -> None:
        """Leave a segment that this process cannot send to others."""
        claimed.close()
        self._leave(claimed.path, reason)

    def used_bytes(self) -> int:
        """Return the bytes of all segments in the directory, of all processes and destinations. Raises OSError."""
        total = 0
        with os.scandir(self.directory) as entries:
            for entry in entries:
                if entry.name.endswith((SUFFIX, _NEW)):
                    try:
                        total += entry.stat(follow_symlinks=False).st_size
                    except FileNotFoundError:
                        continue  # sent in the meantime
        return total

    # Writing, under the lock.

    def _begin(self) -> Segment:
        self._current = self._new_segment()
        return self._current

    def _new_segment(self) -> Segment:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._number += 1
        name = f"{self._destination.key}-{os.getpid()}-{self._number}-{os.urandom(4).hex()}{SUFFIX}"
        return Segment(self.directory / name, self._destination)

    def _write(self, messages: Sequence[Message], into: Callable[[], Segment]) -> Segment | None:
        if self._clock() < self._pause_until:
            return None
        data = records(messages)
        segment: Segment | None = None
        try:
            if self.directory.is_dir() and self.used_bytes() + len(data) > self._max_bytes:
                self._full()
                return None
            segment = into()
            is_new = segment.size == segment.empty_size
            before = segment.size
            segment.write(data)
            # Checked after writing, the bound holds without a lock among processes: of several that write at the same
            # time, the last to check sees the bytes of all. Each may step back; none stays beyond the bound.
            if self.used_bytes() > self._max_bytes:
                segment.cut(before)
                segment.close()
                self._full()
                return None
            try:
                segment.sync()
            except OSError:
                segment.cut(before)
                raise
            if is_new:
                self._sync_directory()
        except OSError as error:
            if segment is not None:
                segment.close()
            self._failed(error)
            return None
        self.trouble = ""
        return segment

    def _close_current(self) -> None:
        segment, self._current = self._current, None
        if segment is not None:
            segment.close()

    def _sync_directory(self) -> None:
        descriptor = os.open(self.directory, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _full(self) -> None:
        self.trouble = "full"
        self._pause_until = self._clock() + PAUSE_SECONDS
        self._say(
            "full",
            f"the spool in {self.directory} is full: it holds {self._max_bytes} bytes (spool_max_bytes). "
            "Events stay in memory, and are dropped when the queue is full too",
        )

    def _failed(self, error: OSError) -> None:
        self.trouble = "failed"
        self._pause_until = self._clock() + PAUSE_SECONDS
        self._counts.spool_failed()
        self._say(
            "failed",
            f"cannot write the spool in {self.directory}: {error}. Events stay in memory, and are dropped when the "
            "queue is full: give the disk room, or name another directory (spool_dir)",
        )

    # Reading.

    def _waiting(self) -> Iterator[Path]:
        prefix = f"{self._destination.key}-"
        with os.scandir(self.directory) as entries:
            names = sorted(entry.name for entry in entries)
        for name in names:
            if name.endswith(_NEW):
                self._remove_unfinished(self.directory / name)
            elif name.startswith(prefix) and name.endswith(SUFFIX) and name not in self._left_alone:
                yield self.directory / name

    def _claim(self, path: Path) -> Claimed | None:
        try:
            descriptor = _locked.take(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._leave(path, str(error))
            return None
        if descriptor is None:
            return None
        try:
            contents = self._read(descriptor)
        except Exception as error:
            _locked.close(descriptor)
            self._leave(path, str(error))
            return None
        if contents.damaged and path.name not in self._damage_counted:
            self._damage_counted.add(path.name)
            self._counts.drop("spool_damaged", contents.damaged, str(path))
        claimed = Claimed(path, descriptor, contents)
        if not claimed.messages:
            claimed.remove()
            return None
        return claimed

    def _read(self, descriptor: int) -> Contents:
        size = os.fstat(descriptor).st_size
        if size > self._max_bytes + SEGMENT_BYTES:
            raise ValueError(f"it has {size} bytes, more than the whole spool may have")
        with open(descriptor, "rb", closefd=False) as file:
            contents = read(file.read(size))
        if contents.destination != self._destination:
            raise ValueError("its events are for another broker or topic")
        return contents

    def _leave(self, path: Path, reason: str) -> None:
        self._left_alone.add(path.name)
        logger.warning("left alone in the spool: %s: %s", path, reason)

    def _remove_unfinished(self, path: Path) -> None:
        try:
            if time.time() - path.lstat().st_mtime < _UNFINISHED_SECONDS:
                return
            descriptor = _locked.take(path)
            if descriptor is not None:
                Segment._unlink(path)
                _locked.close(descriptor)
        except OSError as error:
            logger.debug("could not remove %s: %r", path, error)

    def _say(self, what: str, line: str) -> None:
        now = self._clock()
        if now - self._said.get(what, now - REPORT_INTERVAL_SECONDS) >= REPORT_INTERVAL_SECONDS:
            self._said[what] = now
            logger.warning("%s", line)
