-- The temporary tables of a session: a batch's rows are copied into the stage tables, and merge.sql takes them from there. Every
-- commit empties them.

-- name: create_stage_jobs
CREATE TEMPORARY TABLE IF NOT EXISTS stage_jobs (
    namespace         text COLLATE "C",
    job_id            text COLLATE "C",
    attempt           integer,
    state_rank        smallint,
    occurred_at       bigint,
    state             text,
    worker            text,
    queue             text,
    max_attempts      integer,
    scheduled_at      bigint,
    release           text,
    executor          text,
    error_category    text,
    error_type        text,
    failure_group_id  text,
    enqueued_at       bigint,
    started_at        bigint,
    source            text,
    external_id       text,
    root_job_id       text,
    parent_job_id     text,
    depth             integer,
    expected_children text,
    meta              text,
    args              text,
    args_attempt      integer,
    args_rank         smallint,
    args_occurred_at  bigint,
    latest_at         bigint,
    earliest_at       bigint,
    is_repeated       boolean
) ON COMMIT DELETE ROWS

-- name: create_stage_edges
CREATE TEMPORARY TABLE IF NOT EXISTS stage_edges (
    namespace       text COLLATE "C",
    upstream_job_id text COLLATE "C",
    kind            text COLLATE "C",
    job_id          text COLLATE "C"
) ON COMMIT DELETE ROWS

-- name: create_stage_attempts
CREATE TEMPORARY TABLE IF NOT EXISTS stage_attempts (
    namespace         text COLLATE "C",
    job_id            text COLLATE "C",
    attempt           integer,
    finished_at       bigint,
    digest            uuid,
    state             text,
    worker            text,
    queue             text,
    source            text,
    max_attempts      integer,
    enqueued_at       bigint,
    scheduled_at      bigint,
    started_at        bigint,
    external_id       text,
    release           text,
    executor          text,
    failure_group_id  text,
    has_error         boolean,
    error_category    text,
    error_type        text,
    error_message     text,
    error_stacktrace  text,
    error_origin      text,
    error_fingerprint text
) ON COMMIT DELETE ROWS

-- name: create_stage_groups
CREATE TEMPORARY TABLE IF NOT EXISTS stage_groups (
    id             uuid,
    namespace      text,
    source         text,
    error_category text,
    error_type     text,
    fingerprint    text,
    hour           bigint,
    title          text COLLATE "C"
) ON COMMIT DELETE ROWS

-- name: create_stage_dead_letters
CREATE TEMPORARY TABLE IF NOT EXISTS stage_dead_letters (
    topic          text COLLATE "C",
    message_id     text COLLATE "C",
    reason         text,
    detail         text,
    payload        bytea,
    message_key    text,
    publish_time   bigint,
    schema_version bigint
) ON COMMIT DELETE ROWS

-- name: create_added_attempts
-- The attempts that this batch added to the table: the aggregates count only these.
CREATE TEMPORARY TABLE IF NOT EXISTS added_attempts (
    namespace        text COLLATE "C",
    job_id           text COLLATE "C",
    finished_at      timestamptz,
    state            text,
    worker           text COLLATE "C",
    queue            text COLLATE "C",
    source           text COLLATE "C",
    failure_group_id uuid
) ON COMMIT DELETE ROWS

-- name: create_added_group_jobs
-- A row for each job that is new to a group.
CREATE TEMPORARY TABLE IF NOT EXISTS added_group_jobs (
    failure_group_id uuid
) ON COMMIT DELETE ROWS
