"""What a value from an event may become as the value of a Prometheus label: few values, not long, nothing hostile.

First come, first shown: which values have a name of their own depends on the order of events, but within a process a
value is always shown as the same. The rest are `other`.
"""

OTHER = "other"

_CUT = "…"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class LabelValues:
    """The values of one label."""

    def __init__(self, most: int, characters: int) -> None:
        """At most so many values, each of at most so many characters; besides them `other` and the empty one."""
        self._most = most
        self._characters = characters
        self._shown: set[str] = set()

    def show(self, value: str) -> str:
        """The value itself, cut and without control characters; `other` when there are too many.

        The empty value (not known) stays empty, which to Prometheus is the same as no such label.
        """
        if value in self._shown:
            return value
        plain = self._plain(value)
        if plain in self._shown or plain in ("", OTHER):
            return plain
        if len(self._shown) >= self._most:
            return OTHER
        self._shown.add(plain)
        return plain

    def _plain(self, value: str) -> str:
        if len(value) > self._characters:
            value = value[: self._characters - len(_CUT)] + _CUT
        if value.isprintable():
            return value
        return "".join(letter if letter.isprintable() else _REPLACEMENT for letter in value)
