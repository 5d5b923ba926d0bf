"""Patterns that are compiled when they are first used: compiling all of them would make every start wait."""

import re
from typing import Any, cast


class _Lazy:
    def __init__(self, source: str, flags: re.RegexFlag) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Called for a method that was not used yet; from then on it is an attribute like any other."""
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def lazily(source: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Return a pattern that is compiled at its first use."""
    return cast(re.Pattern[str], _Lazy(source, flags))
