"""How questions are answered: which namespace, when a stage counts as stuck, and how far a question may reach."""

from pydantic import Field

from settings.base import Settings

_MINUTE = 60
_HOUR = 60 * _MINUTE


class AnswersSettings(Settings):
    """For whoever asks: the command line, the dashboard."""

    namespace: str = Field(
        "", max_length=200, description="the system asked about; empty: found by the job's id"
    )
    stuck_floor_seconds: float = Field(
        5 * _MINUTE, ge=0, description="a stage that stood still for less than this is never called stuck"
    )
    lost_floor_seconds: float = Field(
        1 * _HOUR, ge=0, description="a job that executes for less than this is never called lost"
    )
    lost_without_history_seconds: float = Field(
        24 * _HOUR, ge=0, description="a job of a stage that never finished one counts as lost after this"
    )
    answers_statement_timeout_seconds: int = Field(
        60,
        ge=1,
        le=3600,
        description="limit of one query of an answer; a run of 1,000,000 jobs takes a few seconds",
    )
    answers_walk_limit_jobs: int = Field(
        100_000, ge=1, le=5_000_000, description="jobs met when edges are walked; an answer cut there says so"
    )
