"""What one batch brings to the tables: the rows of each stage, as plain tuples in the order of its columns.

Unknown is '' for text and 0 for times, as in the event; the merge turns it into NULL where a table has it so. Times are
microseconds since 1970 UTC. Plain tuples, because a batch has tens of thousands of them and each field costs.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

JobRow = tuple[str | int, ...]
AttemptRow = tuple[str | int, ...]
EdgeRow = tuple[str, str, str, str]
GroupRow = tuple[str, str, str, str, str, str, int, str]

JOB_COLUMNS = (
    "namespace",
    "job_id",
    "attempt",
    "state_rank",
    "occurred_at",
    "state",
    "worker",
    "queue",
    "max_attempts",
    "scheduled_at",
    "release",
    "executor",
    "error_category",
    "error_type",
    "failure_group_id",
    "enqueued_at",
    "started_at",
    "source",
    "external_id",
    "root_job_id",
    "parent_job_id",
    "depth",
    "expected_children",
    "meta",
    "args",
    "args_attempt",
    "args_rank",
    "args_occurred_at",
    "latest_at",
    "is_repeated",
)
ATTEMPT_COLUMNS = (
    "namespace",
    "job_id",
    "attempt",
    "finished_at",
    "digest",
    "state",
    "worker",
    "queue",
    "source",
    "max_attempts",
    "enqueued_at",
    "scheduled_at",
    "started_at",
    "external_id",
    "release",
    "executor",
    "failure_group_id",
    "has_error",
    "error_category",
    "error_type",
    "error_message",
    "error_stacktrace",
    "error_origin",
    "error_fingerprint",
)
EDGE_COLUMNS = ("namespace", "upstream_job_id", "kind", "job_id")
GROUP_COLUMNS = ("id", "namespace", "source", "error_category", "error_type", "fingerprint", "hour", "title")


class DeadLetter(NamedTuple):
    """A message that is no valid event, as it came, with the reason."""

    topic: str
    message_id: str
    reason: str
    detail: str
    payload: bytes
    message_key: str
    publish_time_us: int
    schema_version: int


@dataclass(frozen=True)
class Batch:
    """Rows to be merged in one transaction, and the horizon they were folded for."""

    jobs: list[JobRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    edges: list[EdgeRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    events: int = 0
    expired: int = 0
    horizon_us: int | None = None
    """None: the horizon is minus infinity, nothing has been given up yet."""
    fingerprint_version: int | None = None
    """What its failure groups were made by. None: it has none."""


class Written(NamedTuple):
    """What one committed batch changed."""

    new_attempts: int
    new_edges: int
    new_dead_letters: int
    repeated_jobs: int
    """Jobs of the batch whose attempt has ended twice, or executed after its end: their id was used again."""
