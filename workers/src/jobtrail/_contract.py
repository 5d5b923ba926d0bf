"""The contract of the events: schema text, its SHA-256, typed dictionaries, states.

Written by `make contract` from schemas/job_event.avsc; do not edit. `make check` fails when it differs.
"""

# ruff: noqa: E501  # the schema's text is kept as it is, byte for byte

from typing import Literal, NotRequired, TypedDict

SCHEMA_SHA256 = "b1cfeb26f7d33a02765fc354e3589b81e8d03eabdc7998444409867c98e770a7"

SCHEMA_TEXT = """\
{
  "type": "record",
  "name": "JobEvent",
  "namespace": "jobtrail",
  "doc": "One state change of one attempt of a background job. What is not known is the empty string, 0, or -1 for depth.",
  "fields": [
    {"name": "namespace", "type": "string", "doc": "The system the job belongs to, as in OpenLineage: cinegraph-production."},
    {"name": "job_id", "type": "string", "doc": "Unique in the namespace."},
    {"name": "worker", "type": "string", "doc": "What kind of job: class or function name."},
    {"name": "queue", "type": "string", "doc": "The queue the job waits or waited in."},
    {"name": "state", "type": {"type": "enum", "name": "JobState", "symbols": ["suspended", "scheduled", "available", "executing", "retryable", "completed", "cancelled", "discarded"]}, "doc": "The state that was entered."},
    {"name": "attempt", "type": "int", "doc": "The number of the run the event concerns, from 1, never decreasing. Waiting states carry the run waited for."},
    {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "doc": "When the state was entered, by the publisher's clock; of a finishing event: when it finished."},
    {"name": "source", "type": "string", "default": "", "doc": "Where the data comes from: a scraped site, a tenant, a supplier."},
    {"name": "max_attempts", "type": "int", "default": 0, "doc": "How many runs the job may have."},
    {"name": "enqueued_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0, "doc": "When the job was put into its queue; repeated on later events."},
    {"name": "scheduled_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0, "doc": "Not to be run before; repeated on later events."},
    {"name": "started_at", "type": {"type": "long", "logicalType": "timestamp-micros"}, "default": 0, "doc": "When the run began; repeated on the finishing event."},
    {"name": "parent_job_id", "type": "string", "default": "", "doc": "The job that spawned this one."},
    {"name": "root_job_id", "type": "string", "default": "", "doc": "The first ancestor: the run the job belongs to. A root names itself."},
    {"name": "depth", "type": "int", "default": -1, "doc": "Steps from the root; 0 for a root."},
    {"name": "depends_on", "type": {"type": "array", "items": "string"}, "default": [], "doc": "Jobs of the same run that had to finish first; at most 1000 an event, the rest on further ones."},
    {"name": "expected_children", "type": {"type": "map", "values": "int"}, "default": {}, "doc": "Worker to number: how many children of each kind the job is going to spawn."},
    {"name": "external_id", "type": "string", "default": "", "doc": "The thing being processed: movie:4711."},
    {"name": "error", "type": ["null", {"type": "record", "name": "JobError", "fields": [
      {"name": "category", "type": "string", "default": "", "doc": "A bounded vocabulary of the publisher's: timeout, movie_not_ready."},
      {"name": "type", "type": "string", "default": "", "doc": "The exception's class."},
      {"name": "message", "type": "string", "default": ""},
      {"name": "stacktrace", "type": "string", "default": ""},
      {"name": "origin", "type": "string", "default": "", "doc": "The innermost place in the job's own code, module:function."},
      {"name": "fingerprint", "type": "string", "default": "", "doc": "The publisher's own grouping of failures, if it has one."}
    ]}], "default": null, "doc": "Why the attempt failed."},
    {"name": "release", "type": "string", "default": "", "doc": "The version of the job's code."},
    {"name": "executor", "type": "string", "default": "", "doc": "Host and process."},
    {"name": "args", "type": "string", "default": "", "doc": "JSON, redacted and cut by the publisher; on a job's first event only."},
    {"name": "meta", "type": {"type": "map", "values": "string"}, "default": {}, "doc": "Anything else, small."}
  ]
}
"""

JobState = Literal[
    "suspended",
    "scheduled",
    "available",
    "executing",
    "retryable",
    "completed",
    "cancelled",
    "discarded",
]

STATES: tuple[JobState, ...] = (
    "suspended",
    "scheduled",
    "available",
    "executing",
    "retryable",
    "completed",
    "cancelled",
    "discarded",
)


class JobError(TypedDict):
    category: NotRequired[str]
    type: NotRequired[str]
    message: NotRequired[str]
    stacktrace: NotRequired[str]
    origin: NotRequired[str]
    fingerprint: NotRequired[str]


class JobEvent(TypedDict):
    """One state change of one attempt of a background job. What is not known is the empty string, 0, or -1 for depth."""

    namespace: str
    job_id: str
    worker: str
    queue: str
    state: JobState
    attempt: int
    occurred_at: int
    source: NotRequired[str]
    max_attempts: NotRequired[int]
    enqueued_at: NotRequired[int]
    scheduled_at: NotRequired[int]
    started_at: NotRequired[int]
    parent_job_id: NotRequired[str]
    root_job_id: NotRequired[str]
    depth: NotRequired[int]
    depends_on: NotRequired[list[str]]
    expected_children: NotRequired[dict[str, int]]
    external_id: NotRequired[str]
    error: NotRequired[JobError | None]
    release: NotRequired[str]
    executor: NotRequired[str]
    args: NotRequired[str]
    meta: NotRequired[dict[str, str]]
