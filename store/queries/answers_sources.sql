-- How well each source does.

-- name: sources
-- Ends of attempts since an hour of UTC, and jobs that failed and then completed since then.
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
recovered AS (
    SELECT failure.namespace, failure.source, count(DISTINCT job.job_id) AS jobs
    FROM failure_groups AS failure
    JOIN failure_group_jobs AS met
        ON met.failure_group_id = failure.id
    JOIN jobs AS job
        ON job.namespace = failure.namespace AND job.job_id = met.job_id
    WHERE (%(namespace)s::text IS NULL OR failure.namespace = %(namespace)s)
      AND job.state = 'completed'
      AND job.occurred_at >= %(since)s
    GROUP BY failure.namespace, failure.source
)
SELECT
    outcomes.namespace, outcomes.source, outcomes.completed, outcomes.retryable, outcomes.discarded,
    outcomes.cancelled, coalesce(recovered.jobs, 0) AS recovered
FROM outcomes
LEFT JOIN recovered USING (namespace, source)
ORDER BY outcomes.namespace, outcomes.source;
