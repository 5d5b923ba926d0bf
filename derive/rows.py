"""The rows of one batch: for each stage table, plain tuples in the order of its columns.

Unknown values are '' for text and 0 for times, as in the event. The merge turns them into NULL where the table allows NULL.
Times are microseconds since 1970 in UTC. The tuples are plain because a batch has tens of thousands of them, and each field
costs.
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
    "earliest_at",
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
    """A message that is not a valid event: its unchanged bytes, and the reason."""

    topic: str
    message_id: str
    reason: str
    detail: str
    payload: bytes
    message_key: str
    publish_time_us: int
    schema_version: int


class LateEvent(NamedTuple):
    """The job and the edges of one event that occurred before the horizon."""

    job: JobRow
    edges: tuple[EdgeRow, ...]


@dataclass(frozen=True)
class Batch:
    """The rows to merge in one transaction, and the horizon they were folded for."""

    jobs: list[JobRow] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    edges: list[EdgeRow] = field(default_factory=list)
    groups: list[GroupRow] = field(default_factory=list)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    late: list[LateEvent] = field(default_factory=list)
    """Events that occurred before the horizon: each is merged only into a job with an earlier known event."""
    events: int = 0
    expired: int = 0
    """Number of events that occurred before the horizon: they add no attempt and no count."""
    horizon_us: int | None = None
    """Microseconds since 1970. None: nothing has been deleted yet."""
    fingerprint_version: int | None = None
    """The version of the fingerprint that made its failure groups. None: it has no groups."""


class Written(NamedTuple):
    """How many rows one committed batch added."""

    new_attempts: int
    new_edges: int
    new_dead_letters: int
    repeated_jobs: int
    """Jobs of the batch whose attempt ended twice, or executed after its end: their id was used again."""
