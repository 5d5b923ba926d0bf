-- Jobs of a run, one row each. Parameters: see answers_lineage.sql.

-- name: jobs_of_run
-- Jobs with their parent, and why their last attempt failed: it ended when the job entered its state, so the partition of
-- `attempts` is known.
WITH chosen AS (
    SELECT job_id, depth, worker, state, attempt, occurred_at, started_at, source, external_id, parent_job_id,
           error_category, error_type, failure_group_id
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND (%(worker)s::text IS NULL OR worker = %(worker)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
    UNION ALL
    SELECT place.job_id, place.depth, job.*
    FROM unnest(%(walked_ids)s::text[], %(walked_depths)s::integer[]) AS place (job_id, depth)
    CROSS JOIN LATERAL (
        SELECT worker, state, attempt, occurred_at, started_at, source, external_id, parent_job_id, error_category,
               error_type, failure_group_id
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE (%(worker)s::text IS NULL OR job.worker = %(worker)s)
      AND (%(state)s::text IS NULL OR job.state = %(state)s)
),
page AS (
    SELECT * FROM chosen ORDER BY depth, worker, state, job_id LIMIT %(limit)s
)
SELECT
    page.job_id,
    page.worker,
    page.depth,
    page.state,
    page.attempt,
    page.occurred_at AS since,
    page.started_at,
    page.source,
    page.external_id,
    coalesce(nullif(page.parent_job_id, ''), spawned.upstream_job_id) AS parent_job_id,
    parent.worker AS parent_worker,
    parent.external_id AS parent_external_id,
    page.error_category,
    page.error_type,
    page.failure_group_id,
    ended.error_message
FROM page
LEFT JOIN LATERAL (
    SELECT min(edge.upstream_job_id) AS upstream_job_id
    FROM lineage_edges AS edge
    WHERE edge.namespace = %(namespace)s AND edge.job_id = page.job_id AND edge.kind = 'spawned'
) AS spawned ON page.parent_job_id = ''
LEFT JOIN LATERAL (
    SELECT job.worker, job.external_id
    FROM jobs AS job
    WHERE job.namespace = %(namespace)s
      AND job.job_id = coalesce(nullif(page.parent_job_id, ''), spawned.upstream_job_id)
    OFFSET 0
) AS parent ON true
LEFT JOIN LATERAL (
    SELECT attempt.error_message
    FROM attempts AS attempt
    WHERE attempt.namespace = %(namespace)s
      AND attempt.job_id = page.job_id
      AND attempt.attempt = page.attempt
      AND attempt.finished_at = page.occurred_at
      AND attempt.state = page.state
    ORDER BY attempt.failure_group_id IS NOT DISTINCT FROM page.failure_group_id DESC, attempt.digest
    LIMIT 1
) AS ended ON page.failure_group_id IS NOT NULL
ORDER BY page.depth, page.worker, page.state, page.job_id;

-- name: count_of_run
SELECT coalesce(sum(jobs), 0)::bigint AS jobs
FROM (
    SELECT count(*) AS jobs
    FROM jobs
    WHERE namespace = %(namespace)s
      AND root_job_id = %(run)s
      AND depth >= 0
      AND (%(worker)s::text IS NULL OR worker = %(worker)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
    UNION ALL
    SELECT count(*) AS jobs
    FROM unnest(%(walked_ids)s::text[]) AS place (job_id)
    CROSS JOIN LATERAL (
        SELECT worker, state
        FROM jobs
        WHERE jobs.namespace = %(namespace)s AND jobs.job_id = place.job_id
        OFFSET 0
    ) AS job
    WHERE (%(worker)s::text IS NULL OR job.worker = %(worker)s)
      AND (%(state)s::text IS NULL OR job.state = %(state)s)
) AS both_kinds;
