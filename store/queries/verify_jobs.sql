-- Compare jobs with their finished attempts, and edges with their jobs. Results have the shape described in verify_sums.sql.
-- Nothing is concluded from what occurred before the horizon: it has been deleted, or will be.

-- name: jobs_behind_attempts
-- An attempt comes from an event of its job: merging that event again must change nothing. Takes the attempts from one time up to,
-- but not including, another.
WITH merged AS (
    SELECT
        attempt.namespace, attempt.job_id, attempt.attempt, attempt.finished_at, attempt.state,
        (%(ranks)s::jsonb ->> attempt.state)::smallint AS state_rank,
        job.job_id IS NOT NULL AS is_known,
        (job.attempt, job.state_rank, job.occurred_at)
            < (attempt.attempt, (%(ranks)s::jsonb ->> attempt.state)::smallint, attempt.finished_at) AS is_later,
        least(job.source, nullif(attempt.source, '')) AS source,
        least(job.external_id, nullif(attempt.external_id, '')) AS external_id,
        CASE WHEN job.attempt = attempt.attempt THEN least(job.enqueued_at, attempt.enqueued_at)
             ELSE job.enqueued_at END AS enqueued_at,
        CASE WHEN job.attempt = attempt.attempt THEN least(job.started_at, attempt.started_at)
             ELSE job.started_at END AS started_at,
        greatest(job.latest_at, attempt.finished_at) AS latest_at,
        least(job.earliest_at, attempt.finished_at) AS earliest_at,
        CASE WHEN job.attempt = attempt.attempt
                  AND (job.state, job.occurred_at) <> (attempt.state, attempt.finished_at) THEN true
             ELSE job.is_repeated END AS is_repeated,
        job.attempt AS job_attempt, job.state_rank AS job_rank, job.occurred_at AS job_occurred_at,
        job.state AS job_state, job.source AS job_source, job.external_id AS job_external_id,
        job.enqueued_at AS job_enqueued_at, job.started_at AS job_started_at, job.latest_at AS job_latest_at,
        job.earliest_at AS job_earliest_at, job.is_repeated AS job_is_repeated
    FROM attempts AS attempt
    LEFT JOIN jobs AS job
        ON job.namespace = attempt.namespace AND job.job_id = attempt.job_id
    WHERE attempt.finished_at >= %(from_time)s::timestamptz
      AND (%(to_time)s::timestamptz IS NULL OR attempt.finished_at < %(to_time)s)
      AND attempt.finished_at >= (SELECT horizon_at FROM jobtrail_control.horizon)
),
-- Report only the latest attempt of a job: it explains most.
differing AS (
    SELECT DISTINCT ON (namespace, job_id) *
    FROM merged
    WHERE NOT is_known
       OR is_later
       OR (source, external_id, enqueued_at, started_at, latest_at, earliest_at, is_repeated)
          IS DISTINCT FROM (
              job_source, job_external_id, job_enqueued_at, job_started_at, job_latest_at, job_earliest_at,
              job_is_repeated
          )
    ORDER BY namespace, job_id, attempt DESC, state_rank DESC, finished_at DESC
)
SELECT
    'jobs' AS table_name,
    json_build_object('namespace', namespace, 'job_id', job_id) AS key,
    CASE WHEN is_known THEN jsonb_build_object(
        'attempt', job_attempt, 'state_rank', job_rank, 'occurred_at', job_occurred_at, 'state', job_state,
        'source', job_source, 'external_id', job_external_id, 'enqueued_at', job_enqueued_at,
        'started_at', job_started_at, 'latest_at', job_latest_at, 'earliest_at', job_earliest_at,
        'is_repeated', job_is_repeated
    ) END AS stored,
    CASE WHEN is_later OR NOT is_known THEN jsonb_build_object(
        'attempt', attempt, 'state_rank', state_rank, 'occurred_at', finished_at, 'state', state
    ) ELSE jsonb_build_object(
        'source', source, 'external_id', external_id, 'enqueued_at', enqueued_at, 'started_at', started_at,
        'latest_at', latest_at, 'earliest_at', earliest_at, 'is_repeated', is_repeated
    ) END AS expected
FROM differing
ORDER BY namespace, job_id;

-- name: jobs
-- Check that the columns of a job agree with each other and, if its attempt has ended, with that attempt. If an attempt has two
-- ends at one moment, the merge takes the greater by every column; so does this.
WITH slice AS (
    SELECT
        job.*, (%(ranks)s::jsonb ->> job.state)::smallint AS rank_of_state,
        job.state = ANY (%(finished)s) AND job.occurred_at >= horizon.horizon_at AS has_attempt,
        -- There is another end of its attempt, or a later event. Once something was deleted, this cannot be checked.
        job.is_repeated AND job.state = ANY (%(finished)s) AND (
            horizon.horizon_at <> '-infinity'
            OR job.latest_at - job.occurred_at > interval '1 minute'
            OR (
                SELECT count(*)
                FROM attempts AS attempt
                WHERE attempt.namespace = job.namespace
                  AND attempt.job_id = job.job_id
                  AND attempt.attempt = job.attempt
                  AND (attempt.finished_at, attempt.state) <> (job.occurred_at, job.state)
            ) > 0
        ) AS may_be_repeated
    FROM jobs AS job
    CROSS JOIN jobtrail_control.horizon
    WHERE (%(after_job_id)s::text IS NULL
           OR (job.job_id, job.namespace) > (%(after_job_id)s, %(after_namespace)s))
      AND (%(last_job_id)s::text IS NULL
           OR (job.job_id, job.namespace) <= (%(last_job_id)s, %(last_namespace)s))
),
compared AS (
    SELECT
        job.namespace, job.job_id, job.attempt, job.occurred_at, job.has_attempt AND ended.job_id IS NULL AS is_unended,
        jsonb_build_object(
            'state_rank', job.state_rank, 'latest_at', job.latest_at, 'earliest_at', job.earliest_at,
            'args_attempt', job.args_attempt, 'args_rank', job.args_rank, 'args_occurred_at', job.args_occurred_at,
            'worker', job.worker, 'queue', job.queue,
            'max_attempts', job.max_attempts, 'scheduled_at', job.scheduled_at, 'release', job.release,
            'executor', job.executor, 'error_category', job.error_category, 'error_type', job.error_type,
            'failure_group_id', job.failure_group_id, 'is_repeated', job.is_repeated
        ) AS stored,
        jsonb_build_object(
            'state_rank', job.rank_of_state,
            'latest_at', greatest(job.latest_at, job.occurred_at, job.args_occurred_at),
            'earliest_at', least(job.earliest_at, job.occurred_at, job.args_occurred_at),
            'is_repeated', CASE WHEN job.may_be_repeated THEN true END,
            -- Only the attempt shows which group; that there is one follows from the state.
            'failure_group_id', CASE WHEN job.state = ANY (%(failures)s)
                THEN coalesce(job.failure_group_id, '00000000-0000-0000-0000-000000000000') END,
            'args_attempt', CASE WHEN job.args IS NOT NULL THEN coalesce(job.args_attempt, -1) END,
            'args_rank', CASE WHEN job.args IS NOT NULL THEN coalesce(job.args_rank, -1) END,
            'args_occurred_at', CASE WHEN job.args IS NOT NULL THEN coalesce(job.args_occurred_at, '-infinity') END
        ) || CASE WHEN ended.job_id IS NULL THEN '{}' ELSE jsonb_build_object(
            'worker', ended.worker, 'queue', ended.queue, 'max_attempts', ended.max_attempts,
            'scheduled_at', ended.scheduled_at, 'release', ended.release, 'executor', ended.executor,
            'error_category', ended.error_category, 'error_type', ended.error_type,
            'failure_group_id', ended.failure_group_id
        ) END AS expected
    FROM slice AS job
    LEFT JOIN LATERAL (
        SELECT
            attempt.job_id, attempt.worker, attempt.queue, attempt.max_attempts, attempt.scheduled_at, attempt.release,
            attempt.executor, coalesce(attempt.error_category, '') AS error_category,
            coalesce(attempt.error_type, '') AS error_type, attempt.failure_group_id
        FROM attempts AS attempt
        WHERE job.has_attempt
          AND attempt.namespace = job.namespace
          AND attempt.job_id = job.job_id
          AND attempt.attempt = job.attempt
          AND attempt.finished_at = job.occurred_at
          AND attempt.state = job.state
        ORDER BY
            worker DESC, queue DESC, max_attempts DESC, coalesce(attempt.scheduled_at, '-infinity') DESC, release DESC,
            executor DESC, coalesce(attempt.error_category, '') DESC, coalesce(attempt.error_type, '') DESC,
            failure_group_id DESC
        LIMIT 1
    ) AS ended ON true
)
SELECT
    'jobs' AS table_name,
    json_build_object('namespace', namespace, 'job_id', job_id) AS key,
    stored,
    expected
FROM compared
WHERE NOT stored @> expected
UNION ALL
-- The job's attempt has ended, but that attempt is missing. If the job lacks a later attempt, only that one is reported.
SELECT
    'attempts',
    json_build_object('namespace', job.namespace, 'job_id', job.job_id, 'attempt', job.attempt,
                      'finished_at', job.occurred_at),
    NULL,
    jsonb_build_object('state', stored.state)
FROM compared AS job
JOIN jobs AS stored
    ON stored.namespace = job.namespace AND stored.job_id = job.job_id
WHERE job.is_unended
  AND NOT EXISTS (
      SELECT
      FROM attempts AS later
      WHERE later.namespace = job.namespace
        AND later.job_id = job.job_id
        AND (later.attempt, (%(ranks)s::jsonb ->> later.state)::smallint, later.finished_at)
            > (stored.attempt, stored.state_rank, stored.occurred_at)
  )
ORDER BY table_name;

-- name: parents
-- A job that names a parent has an edge from it.
SELECT
    'lineage_edges' AS table_name,
    json_build_object('namespace', job.namespace, 'upstream_job_id', job.parent_job_id, 'job_id', job.job_id,
                      'kind', 'spawned') AS key,
    NULL::jsonb AS stored,
    '{}'::jsonb AS expected
FROM jobs AS job
WHERE (%(after_job_id)s::text IS NULL
       OR (job.job_id, job.namespace) > (%(after_job_id)s, %(after_namespace)s))
  AND (%(last_job_id)s::text IS NULL
       OR (job.job_id, job.namespace) <= (%(last_job_id)s, %(last_namespace)s))
  AND job.parent_job_id NOT IN ('', job.job_id)
  -- One lookup by the key for each job: a join might read the whole table for every slice.
  AND (
      SELECT count(*)
      FROM lineage_edges AS edge
      WHERE edge.namespace = job.namespace
        AND edge.upstream_job_id = job.parent_job_id
        AND edge.kind = 'spawned'
        AND edge.job_id = job.job_id
  ) = 0
ORDER BY job.job_id, job.namespace;

-- name: lineage_edges
-- An edge comes with an event of its job, so the job exists. No edge leads from a job to itself.
SELECT
    'lineage_edges' AS table_name,
    json_build_object('namespace', edge.namespace, 'upstream_job_id', edge.upstream_job_id, 'job_id', edge.job_id,
                      'kind', edge.kind) AS key,
    '{}'::jsonb AS stored,
    NULL::jsonb AS expected
FROM lineage_edges AS edge
WHERE (%(after_job_id)s::text IS NULL
       OR (edge.upstream_job_id, edge.job_id, edge.kind, edge.namespace)
          > (%(after_upstream)s, %(after_job_id)s, %(after_kind)s, %(after_namespace)s))
  AND (%(last_job_id)s::text IS NULL
       OR (edge.upstream_job_id, edge.job_id, edge.kind, edge.namespace)
          <= (%(last_upstream)s, %(last_job_id)s, %(last_kind)s, %(last_namespace)s))
  AND (
      edge.upstream_job_id IN ('', edge.job_id)
      OR (SELECT count(*) FROM jobs AS job WHERE job.namespace = edge.namespace AND job.job_id = edge.job_id) = 0
  )
ORDER BY edge.upstream_job_id, edge.job_id, edge.kind, edge.namespace;

-- name: reused_ids
-- Jobs whose id was used again: one of their attempts ended more than once, or `has_reused_id` is true.
WITH reused AS (
    SELECT attempt.namespace, attempt.job_id
    FROM attempts AS attempt
    WHERE (%(after_job_id)s::text IS NULL
           -- By the index first, then exactly.
           OR (attempt.job_id >= %(after_job_id)s
               AND (attempt.job_id, attempt.namespace) > (%(after_job_id)s, %(after_namespace)s)))
      AND (%(last_job_id)s::text IS NULL
           OR (attempt.job_id <= %(last_job_id)s
               AND (attempt.job_id, attempt.namespace) <= (%(last_job_id)s, %(last_namespace)s)))
    GROUP BY attempt.namespace, attempt.job_id, attempt.attempt
    HAVING min(attempt.finished_at) < max(attempt.finished_at) OR min(attempt.state) < max(attempt.state)
    UNION
    SELECT job.namespace, job.job_id
    FROM jobs AS job
    WHERE (%(after_job_id)s::text IS NULL
           OR (job.job_id, job.namespace) > (%(after_job_id)s, %(after_namespace)s))
      AND (%(last_job_id)s::text IS NULL
           OR (job.job_id, job.namespace) <= (%(last_job_id)s, %(last_namespace)s))
      AND (job.is_repeated OR job.latest_at - job.occurred_at > interval '1 minute')
      AND has_reused_id(job)
)
SELECT namespace, job_id
FROM reused
ORDER BY job_id, namespace;

-- name: unknown_upstreams
-- Edges from a job without an event. Nothing is wrong with them: the event may still arrive, or was expired.
SELECT count(*) AS edges
FROM lineage_edges AS edge
WHERE (%(after_job_id)s::text IS NULL
       OR (edge.upstream_job_id, edge.job_id, edge.kind, edge.namespace)
          > (%(after_upstream)s, %(after_job_id)s, %(after_kind)s, %(after_namespace)s))
  AND (%(last_job_id)s::text IS NULL
       OR (edge.upstream_job_id, edge.job_id, edge.kind, edge.namespace)
          <= (%(last_upstream)s, %(last_job_id)s, %(last_kind)s, %(last_namespace)s))
  AND (SELECT count(*) FROM jobs AS job WHERE job.namespace = edge.namespace AND job.job_id = edge.upstream_job_id) = 0;
