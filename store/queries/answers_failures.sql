-- Failure groups: failures of one kind.

-- name: groups
-- Groups with their newest samples. The times of a group limit which partitions of `attempts` are read.
WITH asked AS (
    SELECT id, namespace, source, error_category, error_type, fingerprint, title, occurrence_count, job_count,
           first_seen_at, last_seen_at
    FROM failure_groups
    WHERE (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
      AND (%(source)s::text IS NULL OR source = %(source)s)
      AND (%(category)s::text IS NULL OR error_category = %(category)s)
      AND (%(since)s::timestamptz IS NULL OR last_seen_at >= %(since)s)
    ORDER BY last_seen_at DESC, occurrence_count DESC, id
    LIMIT %(limit)s
)
SELECT
    asked.id,
    asked.namespace,
    asked.source,
    asked.error_category AS category,
    asked.error_type,
    asked.title,
    asked.occurrence_count,
    asked.job_count,
    asked.first_seen_at,
    asked.last_seen_at,
    CASE WHEN %(hour)s::timestamptz IS NOT NULL THEN coalesce((
        SELECT sum(hourly.occurrence_count)
        FROM failure_groups_hourly AS hourly
        WHERE hourly.failure_group_id = asked.id
          AND hourly.hour >= %(hour)s
    ), 0)::bigint END AS occurrence_count_since,
    CASE WHEN %(hour)s::timestamptz IS NOT NULL THEN (
        SELECT count(*)
        FROM failure_group_jobs AS met
        WHERE met.failure_group_id = asked.id
          AND met.last_finished_at >= %(hour)s
    ) END AS job_count_since,
    coalesce(samples.workers, '{}') AS sample_workers,
    coalesce(samples.external_ids, '{}') AS sample_external_ids
FROM asked
LEFT JOIN LATERAL (
    SELECT
        array_agg(DISTINCT newest.worker) AS workers,
        array_agg(DISTINCT newest.external_id) FILTER (WHERE newest.external_id <> '') AS external_ids
    FROM (
        SELECT attempt.worker, attempt.external_id
        FROM attempts AS attempt
        WHERE attempt.failure_group_id = asked.id
          AND attempt.finished_at BETWEEN asked.first_seen_at AND asked.last_seen_at
        ORDER BY attempt.finished_at DESC
        LIMIT %(samples)s
    ) AS newest
) AS samples ON true
ORDER BY asked.last_seen_at DESC, asked.occurrence_count DESC, asked.id;

-- name: groups_like
-- The groups whose id begins with the given digits; two rows are enough to know that there are several.
SELECT id
FROM failure_groups
WHERE id BETWEEN %(lowest)s AND %(highest)s
ORDER BY id
LIMIT 2;

-- name: group_by_id
SELECT id, namespace, source, error_category AS category, error_type, fingerprint, title, occurrence_count, job_count,
       first_seen_at, last_seen_at
FROM failure_groups
WHERE id = %(id)s;

-- name: newest_attempts
-- The newest failures of a group, in full.
SELECT
    attempt.job_id, attempt.attempt, attempt.finished_at, attempt.state, attempt.worker, attempt.external_id,
    attempt.error_message AS message, attempt.error_stacktrace AS stacktrace, attempt.error_origin AS origin,
    attempt.release, attempt.executor
FROM attempts AS attempt
WHERE attempt.failure_group_id = %(id)s
  AND attempt.finished_at BETWEEN %(first_seen_at)s AND %(last_seen_at)s
ORDER BY attempt.finished_at DESC, attempt.job_id, attempt.attempt DESC, attempt.digest
LIMIT %(limit)s;

-- name: hours
-- How many attempts failed in each hour (UTC), the newest hour first.
SELECT hour, occurrence_count
FROM failure_groups_hourly
WHERE failure_group_id = %(id)s
ORDER BY hour DESC
LIMIT %(limit)s;
