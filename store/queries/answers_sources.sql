-- Success rates by source.

-- name: sources
-- Ends of attempts since an hour of UTC, and jobs that have recovered since then: they failed, completed in a later
-- attempt, and have not failed again. A recovery counts for the source of the failure.
WITH outcomes AS (
    SELECT
        namespace, source,
        sum(completed)::bigint AS completed,
        sum(retryable)::bigint AS retryable,
        sum(discarded)::bigint AS discarded,
        sum(cancelled)::bigint AS cancelled
    FROM outcomes_hourly
    WHERE hour >= %(since)s
      AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
    GROUP BY namespace, source
),
-- Answered by attempts_late_success_idx alone.
completed_late AS (
    SELECT namespace, job_id, attempt, started_at
    FROM attempts
    WHERE state = 'completed'
      AND attempt > 1
      AND finished_at >= %(since)s
      AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
),
-- With the groups in which the job failed. If its last failure of each group ended before this attempt began, it has recovered,
-- and no attempt must be read. Else the failure may be of this attempt or of a later one, or its host's clock is ahead.
met AS MATERIALIZED (
    SELECT
        failure.namespace, failure.source, failure.id AS failure_group_id, late.job_id, late.attempt,
        late.started_at IS NULL OR group_job.last_finished_at > late.started_at AS is_in_doubt
    FROM completed_late AS late
    JOIN failure_group_jobs AS group_job
        ON group_job.job_id = late.job_id
    JOIN failure_groups AS failure
        ON failure.id = group_job.failure_group_id AND failure.namespace = late.namespace
),
in_doubt AS MATERIALIZED (
    SELECT DISTINCT namespace, job_id, attempt
    FROM met
    WHERE is_in_doubt
),
-- Each job once, however often it failed and completed. LIMIT keeps the planner from reading all attempts instead.
recovered_jobs AS (
    SELECT met.namespace, met.source, met.job_id
    FROM met
    LEFT JOIN in_doubt USING (namespace, job_id, attempt)
    WHERE CASE
        WHEN in_doubt.job_id IS NULL THEN true
        ELSE (
            SELECT true
            FROM attempts AS failed
            CROSS JOIN LATERAL (
                SELECT
                FROM jobs
                WHERE jobs.namespace = met.namespace
                  AND jobs.job_id = met.job_id
                  AND jobs.attempt = met.attempt
                  AND jobs.state = 'completed'
                OFFSET 0
            ) AS stands
            WHERE failed.namespace = met.namespace
              AND failed.job_id = met.job_id
              AND failed.attempt < met.attempt
              AND failed.failure_group_id = met.failure_group_id
            LIMIT 1
        )
    END
    GROUP BY met.namespace, met.source, met.job_id
),
recovered AS (
    SELECT namespace, source, count(*) AS jobs
    FROM recovered_jobs
    GROUP BY namespace, source
)
SELECT
    outcomes.namespace, outcomes.source, outcomes.completed, outcomes.retryable, outcomes.discarded,
    outcomes.cancelled, coalesce(recovered.jobs, 0) AS recovered
FROM outcomes
LEFT JOIN recovered USING (namespace, source)
ORDER BY outcomes.namespace, outcomes.source;
