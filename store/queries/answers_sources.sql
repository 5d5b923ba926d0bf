-- How well each source does.

-- name: sources
-- Ends of attempts since an hour of UTC, and jobs that have recovered since then: that failed, completed in a later
-- attempt, and have not failed again. By the source of the failure.
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
-- By attempts_late_success_idx; only of jobs whose latest attempt that one is.
completed_late AS (
    SELECT late.namespace, late.job_id, late.attempt
    FROM attempts AS late
    CROSS JOIN LATERAL (
        SELECT
        FROM jobs
        WHERE jobs.namespace = late.namespace
          AND jobs.job_id = late.job_id
          AND jobs.attempt = late.attempt
          AND jobs.state = 'completed'
        OFFSET 0
    ) AS stands
    WHERE late.state = 'completed'
      AND late.attempt > 1
      AND late.finished_at >= %(since)s
      AND (%(namespace)s::text IS NULL OR late.namespace = %(namespace)s)
),
-- Each once, however often it failed and completed: grouped here alone, which is half the time of two DISTINCTs. The last
-- failure of a group is nearly always of an earlier attempt, which one look at the partition of that day tells; else all
-- days are looked at. LIMIT keeps the planner from reading all attempts instead.
recovered_jobs AS (
    SELECT failure.namespace, failure.source, late.job_id
    FROM completed_late AS late
    JOIN failure_group_jobs AS met
        ON met.job_id = late.job_id
    JOIN failure_groups AS failure
        ON failure.id = met.failure_group_id AND failure.namespace = late.namespace
    WHERE coalesce(
        (
            SELECT true
            FROM attempts AS failed
            WHERE failed.namespace = late.namespace
              AND failed.job_id = late.job_id
              AND failed.finished_at = met.last_finished_at
              AND failed.attempt < late.attempt
              AND failed.failure_group_id = met.failure_group_id
            LIMIT 1
        ),
        (
            SELECT true
            FROM attempts AS failed
            WHERE failed.namespace = late.namespace
              AND failed.job_id = late.job_id
              AND failed.attempt < late.attempt
              AND failed.failure_group_id = met.failure_group_id
            LIMIT 1
        ),
        false
    )
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
