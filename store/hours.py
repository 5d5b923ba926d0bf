"""Hours of UTC: what the hourly aggregates, and the slices of a verification, begin with."""

from datetime import UTC, datetime


def start_of_hour(time: datetime) -> datetime:
    """Return the beginning of the hour of UTC that a time with a zone lies in."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
