"""Patterns that are compiled when they are first used: compiling all of them would make every start wait."""

import re
from typing import Any, cast


class _Lazy:
    def __init__(self, source: str, flags: re.RegexFlag) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        """Compile the pattern at the first use of a method, and make that method a normal attribute."""
        found = getattr(re.compile(self._source, self._flags), name)
        setattr(self, name, found)
        return found


def lazily(source: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    """Return a pattern that is compiled at its first use."""
    return cast(re.Pattern[str], _Lazy(source, flags))
