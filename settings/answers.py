"""Settings of the answers: which namespace, when a stage counts as stuck, and how much a query may read."""

from pydantic import Field

from settings.base import Settings

_MINUTE = 60
_HOUR = 60 * _MINUTE
_CENTURY = 100 * 365 * 24 * _HOUR


class AnswersSettings(Settings):
    """Settings of the command line and the dashboard."""

    namespace: str = Field(
        "", max_length=200, description="namespace to query; empty: inferred from the job's id"
    )
    stuck_floor_seconds: float = Field(
        5 * _MINUTE,
        ge=0,
        le=_CENTURY,
        description="a stage without progress for less than this is never stuck",
    )
    lost_floor_seconds: float = Field(
        1 * _HOUR, ge=0, le=_CENTURY, description="a job that executes for less than this is never lost"
    )
    lost_without_history_seconds: float = Field(
        24 * _HOUR,
        ge=0,
        le=_CENTURY,
        description="when a job counts as lost if none of its kind is known to have completed",
    )
    answers_statement_timeout_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="limit of one query; for a run of 1,000,000 jobs one takes a few seconds",
    )
    answers_walk_limit_jobs: int = Field(
        100_000,
        ge=1,
        le=5_000_000,
        description="most jobs visited when edges are walked; an answer that reaches it says so",
    )
