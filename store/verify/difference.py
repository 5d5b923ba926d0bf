"""One difference: a value of a row, a missing row, or a row too many. Pure; no I/O."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from schemas.redacted_event import redacted_value

TABLES: Final = (
    "outcomes_hourly",
    "failure_groups_hourly",
    "failure_groups",
    "failure_group_jobs",
    "jobs",
    "lineage_edges",
)
"""The tables whose rows are compared, in this order."""

Values = dict[str, Any]
"""Columns and their values as JSON has them: numbers, text, times in RFC 3339, null."""


class Difference(NamedTuple):
    """A stored value that does not agree with the rows it is derived from.

    ``column`` is None for a difference of a whole row. Then ``stored`` is None if the row is missing, ``expected`` is None if the
    row should not exist, and the other of the two has the row's values without the key.
    """

    table: str
    key: Values
    column: str | None
    stored: Any
    expected: Any


def differences(
    table: str, key: Values, stored: Values | None, expected: Values | None
) -> Iterator[Difference]:
    """Yield a difference for each column whose values differ, or a single one if either row is missing.

    Values are compared unchanged, and yielded with their secrets redacted.
    """
    if stored is None or expected is None:
        yield Difference(table, key, None, redacted_value(stored), redacted_value(expected))
        return
    for column, value in expected.items():
        if stored[column] != value:
            yield Difference(table, key, column, redacted_value(stored[column]), redacted_value(value))
