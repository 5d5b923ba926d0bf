-- Jobs whose id was used again, by `has_reused_id` (migration 0005). It is called only for jobs in jobs_reused_ids_idx.
-- Lookups are written LATERAL, as in answers_lineage.sql.

-- name: reused_among
-- Those of these jobs whose id was used again. Each is looked up by its key before anything else is checked.
SELECT (found.job).namespace, (found.job).job_id
FROM unnest(%(namespaces)s::text[], %(job_ids)s::text[]) AS asked (namespace, job_id)
CROSS JOIN LATERAL (
    SELECT jobs AS job
    FROM jobs
    WHERE jobs.job_id = asked.job_id
      AND jobs.namespace = asked.namespace
    OFFSET 0
) AS found
WHERE ((found.job).is_repeated OR (found.job).latest_at - (found.job).occurred_at > interval '1 minute')
  AND has_reused_id(found.job);

-- name: reuse_of
-- The evidence: the attempt that ended most often, the last end of any attempt, and what came after that.
SELECT
    job.namespace,
    job.job_id,
    job.worker,
    job.state,
    coalesce(most.attempt, job.attempt) AS attempt,
    coalesce(most.ends, 0) AS ends,
    last.state AS last_outcome,
    last.finished_at AS last_ended_at,
    CASE WHEN job.latest_at - coalesce(last.finished_at, job.occurred_at) > interval '1 minute'
        THEN job.latest_at END AS open_again_at
FROM unnest(%(namespaces)s::text[], %(job_ids)s::text[]) AS asked (namespace, job_id)
JOIN jobs AS job
    ON job.job_id = asked.job_id AND job.namespace = asked.namespace
LEFT JOIN LATERAL (
    SELECT attempt.attempt, count(DISTINCT (attempt.finished_at, attempt.state)) AS ends
    FROM attempts AS attempt
    WHERE attempt.job_id = job.job_id AND attempt.namespace = job.namespace
    GROUP BY attempt.attempt
    ORDER BY ends DESC, max(attempt.finished_at) DESC
    LIMIT 1
) AS most ON true
LEFT JOIN LATERAL (
    SELECT attempt.state, attempt.finished_at
    FROM attempts AS attempt
    WHERE attempt.job_id = job.job_id AND attempt.namespace = job.namespace
    ORDER BY attempt.finished_at DESC, attempt.state
    LIMIT 1
) AS last ON true
ORDER BY job.namespace, job.job_id;

-- name: reused_ids_of_runs
-- How many such jobs each of these runs has, among the jobs that name the root.
SELECT run.namespace, run.root, reused.jobs
FROM unnest(%(namespaces)s::text[], %(roots)s::text[]) AS run (namespace, root)
CROSS JOIN LATERAL (
    SELECT count(*) AS jobs
    FROM jobs AS job
    WHERE job.namespace = run.namespace
      AND job.root_job_id = run.root
      AND (job.is_repeated OR job.latest_at - job.occurred_at > interval '1 minute')
      AND has_reused_id(job)
) AS reused
WHERE reused.jobs > 0;

-- name: stage_reused_ids
-- How many such jobs each stage of a run has. Parameters: see answers_lineage.sql. Few jobs of a namespace are in
-- jobs_reused_ids_idx. So for jobs found by walking, those few are read once, instead of looking up every walked job.
WITH few AS MATERIALIZED (
    SELECT job.job_id, job.worker
    FROM jobs AS job
    WHERE job.namespace = %(namespace)s
      AND cardinality(%(walked_ids)s::text[]) > 0
      AND (job.is_repeated OR job.latest_at - job.occurred_at > interval '1 minute')
      AND has_reused_id(job)
), reused AS (
    SELECT job.depth, job.worker
    FROM jobs AS job
    WHERE job.namespace = %(namespace)s
      AND job.root_job_id = %(run)s
      AND job.depth >= 0
      AND (job.is_repeated OR job.latest_at - job.occurred_at > interval '1 minute')
      AND has_reused_id(job)
    UNION ALL
    SELECT place.depth, few.worker
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    JOIN few
        ON few.job_id = place.job_id
)
SELECT depth, worker, count(*) AS jobs
FROM reused
GROUP BY depth, worker;
