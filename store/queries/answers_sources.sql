-- How well each source does.

-- name: sources
-- Ends of attempts since an hour of UTC, and jobs that failed and completed in a later attempt since then.
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
-- By attempts_late_success_idx and the jobs that the groups have met, without a look at a job or an attempt itself.
completed_late AS (
    SELECT namespace, job_id
    FROM attempts
    WHERE state = 'completed'
      AND attempt > 1
      AND finished_at >= %(since)s
      AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
),
-- Each once, however often it failed and completed: grouped here alone, which is half the time of two DISTINCTs.
recovered_jobs AS (
    SELECT failure.namespace, failure.source, late.job_id
    FROM completed_late AS late
    JOIN failure_group_jobs AS met
        ON met.job_id = late.job_id
    JOIN failure_groups AS failure
        ON failure.id = met.failure_group_id AND failure.namespace = late.namespace
    GROUP BY failure.namespace, failure.source, late.job_id
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
