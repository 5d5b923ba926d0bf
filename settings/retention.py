"""Settings of retention: how long data are kept, and for what share of the time their deletion may work."""

from pydantic import Field, field_validator

from settings.base import Settings

_LEAST_DAYS = 7


class RetentionSettings(Settings):
    """Data older than the horizon are deleted. The broker's log has its own retention."""

    retention_days: int = Field(
        90,
        ge=0,
        le=36_500,
        description="how many whole days of UTC before today the tables keep; older data are deleted for good. At least "
        "7, or 0 to keep everything",
    )
    retention_open_days: int = Field(
        400,
        ge=0,
        le=36_500,
        description="how many whole days of UTC an open job, and with it its run, is kept after its last event, or after the "
        "time it is scheduled for if that is later; 0 = for ever. A number below `retention_days` counts as that",
    )
    retention_in_aggregator: bool = Field(
        True,
        description="whether aggregators delete old data, one of them, once a day; if false, only `jobtrail retain` does",
    )
    retention_share: float = Field(
        0.2, gt=0, le=1, description="share of the time that the deletion works; it pauses for the rest"
    )
    retention_batch_rows: int = Field(
        5_000, ge=100, le=100_000, description="most rows that one transaction deletes"
    )

    @field_validator("retention_days")
    @classmethod
    def _is_no_slip(cls, days: int) -> int:
        """Refuse very few days: deleted data cannot be restored, so a small number is probably a mistake."""
        if 0 < days < _LEAST_DAYS:
            raise ValueError(
                f"expected {_LEAST_DAYS} days or more, or 0 to keep everything, got {days}: deleted data do not "
                "come back, not even by a rebuild"
            )
        return days
