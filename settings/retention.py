"""How long the answers are kept, and how hard the removal of older ones may work."""

from pydantic import Field, field_validator

from settings.base import Settings

_LEAST_DAYS = 7


class RetentionSettings(Settings):
    """What is older than the horizon goes. The log of the broker has a retention of its own."""

    retention_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="whole days of UTC that the tables keep before today; what occurred before is given up for good. At "
        "least 7, or 0: everything is kept",
    )
    retention_in_aggregator: bool = Field(
        True,
        description="whether aggregators look to it, once a day, one of them; false leaves it to `jobtrail retain`",
    )
    retention_share: float = Field(
        0.2, gt=0, le=1, description="share of the time that the removal is at work; it rests for the others"
    )
    retention_batch_rows: int = Field(
        5_000, ge=100, le=100_000, description="most rows of one transaction of the removal"
    )

    @field_validator("retention_days")
    @classmethod
    def _is_no_slip(cls, days: int) -> int:
        """What is given up does not come back, so a number too small is rather a mistake than meant."""
        if 0 < days < _LEAST_DAYS:
            raise ValueError(
                f"expected {_LEAST_DAYS} days or more, or 0 to keep everything, got {days}: what is given up does not "
                "come back, not even by a rebuild"
            )
        return days
