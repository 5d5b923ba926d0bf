"""Counts over a sliding window of event time. Pure: the clock is an argument, and the order of events does not matter.

Time is divided into buckets. At a time `now`, a window shows the bucket of `now` and every bucket that reaches into the
window before it: the whole window, and at most one bucket more. An event counts in the bucket it occurred in, however late
it arrives. An event from before the window does not count; one from the future (a publisher's clock is ahead) waits for its
time. So what a window shows depends only on the set of events and the clock.
"""

from typing import Generic, TypeVar

Key = TypeVar("Key")

SHORT_SECONDS = 60 * 60
SHORT_BUCKETS = 60
LONG_BUCKETS = 288


class Window(Generic[Key]):
    """How often each key was seen within the last ``length_seconds``."""

    def __init__(self, length_seconds: int, bucket_seconds: int) -> None:
        """``bucket_seconds`` divides ``length_seconds``; at most one bucket more than the length is shown."""
        if length_seconds % bucket_seconds:
            raise ValueError(
                f"expected a window of whole buckets, got {length_seconds} s in buckets of {bucket_seconds} s"
            )
        self.length_seconds = length_seconds
        self.bucket_seconds = bucket_seconds
        self._reach = length_seconds // bucket_seconds
        self._buckets: dict[int, dict[Key, int]] = {}
        self._shown: dict[Key, int] = {}
        self._newest = 0
        """Index of the clock's bucket. Later buckets wait; those more than ``reach`` before it are gone."""

    def add(self, at_second: int, key: Key, count: int) -> None:
        """Count events that occurred in this second since 1970. Those from before the window change nothing.

        The caller bounds how far ahead of the clock an event may be: future buckets are kept.
        """
        index = at_second // self.bucket_seconds
        if index < self._newest - self._reach:
            return
        bucket = self._buckets.setdefault(index, {})
        bucket[key] = bucket.get(key, 0) + count
        if index <= self._newest:
            self._shown[key] = self._shown.get(key, 0) + count

    def advance(self, now_second: int) -> None:
        """Move to this second since 1970. The cost is that of the buckets that leave and enter. Moving back restores nothing."""
        newest = now_second // self.bucket_seconds
        if newest == self._newest:
            return
        before, self._newest = self._newest, newest
        for index in list(self._buckets):
            was, is_ = index <= before, index <= newest
            gone = index < newest - self._reach
            if was and (gone or not is_):
                self._change_shown(self._buckets[index], -1)
            elif is_ and not was and not gone:
                self._change_shown(self._buckets[index], 1)
            if gone:
                del self._buckets[index]

    def counts(self) -> dict[Key, int]:
        """Return the counts shown, by key. Every key ever seen stays, maybe with 0, so that its series does not come and go."""
        return self._shown

    def _change_shown(self, bucket: dict[Key, int], sign: int) -> None:
        for key, count in bucket.items():
            self._shown[key] = self._shown.get(key, 0) + sign * count


def bucket_seconds(length_seconds: int) -> int:
    """Return the length of a window's buckets: a sixtieth of a short window, about 1/288 of a long one (5 s, 1 min, 5 min)."""
    least = -(-length_seconds // (SHORT_BUCKETS if length_seconds <= SHORT_SECONDS else LONG_BUCKETS))
    return next(seconds for seconds in range(least, length_seconds + 1) if length_seconds % seconds == 0)
