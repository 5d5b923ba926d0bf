"""Hours of UTC, at which hourly aggregates and slices of a verification begin."""

from datetime import UTC, datetime


def start_of_hour(time: datetime) -> datetime:
    """Return the beginning of the hour of UTC that has this time, which must have a zone."""
    return time.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
