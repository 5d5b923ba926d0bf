"""Bounds the values of a Prometheus label that come from events: few, short, and safe.

The first values are shown by name, so which ones depends on the order of events. But within a process a value is always
shown the same way. The rest are `other`.
"""

OTHER = "other"

_CUT = "…"
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class LabelValues:
    """The values of one label."""

    def __init__(self, most: int, characters: int) -> None:
        """Show at most ``most`` values besides `other` and the empty value, each cut to ``characters``."""
        self._most = most
        self._characters = characters
        self._shown: set[str] = set()

    def show(self, value: str) -> str:
        """Return the value, cut and without control characters; `other` if there are too many values.

        The empty value (not known) stays empty. To Prometheus that is the same as no label.
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
