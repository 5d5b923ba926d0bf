"""What differs: one value of one row, or a row that is missing or one too many. Pure; no I/O."""

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
    """A stored value that is not what the rows it is derived from say.

    ``column`` is None where the whole row is meant: then ``stored`` is None if it is missing and ``expected`` is None if
    it should not be there; the other is the row's values beside the key.
    """

    table: str
    key: Values
    column: str | None
    stored: Any
    expected: Any


def differences(
    table: str, key: Values, stored: Values | None, expected: Values | None
) -> Iterator[Difference]:
    """One for each column whose values differ; one in all where either row is not there.

    The values are compared as they are, and given with the secrets in them redacted.
    """
    if stored is None or expected is None:
        yield Difference(table, key, None, redacted_value(stored), redacted_value(expected))
        return
    for column, value in expected.items():
        if stored[column] != value:
            yield Difference(table, key, column, redacted_value(stored[column]), redacted_value(value))
