-- Temporary tables of a retention session: the rows that one transaction deletes, for its later statements.

-- name: create_expired_attempts
CREATE TEMPORARY TABLE IF NOT EXISTS expired_attempts (
    namespace        text COLLATE "C",
    job_id           text COLLATE "C",
    finished_at      timestamptz,
    state            text,
    worker           text COLLATE "C",
    queue            text COLLATE "C",
    source           text COLLATE "C",
    failure_group_id uuid
) ON COMMIT DELETE ROWS

-- name: create_expired_group_jobs
CREATE TEMPORARY TABLE IF NOT EXISTS expired_group_jobs (
    failure_group_id uuid,
    job_count        bigint
) ON COMMIT DELETE ROWS

-- name: create_expired_jobs
CREATE TEMPORARY TABLE IF NOT EXISTS expired_jobs (
    run_number integer,
    namespace  text COLLATE "C",
    job_id     text COLLATE "C"
) ON COMMIT DELETE ROWS
