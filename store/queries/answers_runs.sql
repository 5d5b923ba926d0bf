-- The runs there are.

-- name: runs
-- The newest first, by what was last said of their root. A run too large to be read for its last change has none here.
WITH roots AS (
    SELECT namespace, job_id, worker, state, source, external_id, occurred_at,
           least(enqueued_at, started_at, occurred_at) AS started_at
    FROM jobs
    WHERE depth = 0
      AND (%(namespace)s::text IS NULL OR namespace = %(namespace)s)
    ORDER BY occurred_at DESC, namespace, job_id
    LIMIT %(limit)s
)
SELECT
    roots.job_id AS root,
    roots.namespace,
    roots.worker,
    roots.state,
    roots.source,
    roots.external_id,
    roots.started_at,
    CASE WHEN stands.total <= %(largest_read)s THEN (
        SELECT max(job.occurred_at)
        FROM jobs AS job
        WHERE job.namespace = roots.namespace AND job.root_job_id = roots.job_id
    ) END AS last_change_at,
    stands.total,
    stands.completed,
    stands.failed,
    stands.waiting,
    stands.executing
FROM roots
CROSS JOIN LATERAL (
    SELECT
        count(*) AS total,
        count(*) FILTER (WHERE job.state = 'completed') AS completed,
        count(*) FILTER (WHERE job.state = 'discarded') AS failed,
        count(*) FILTER (WHERE job.state IN ('available', 'scheduled', 'suspended', 'retryable')) AS waiting,
        count(*) FILTER (WHERE job.state = 'executing') AS executing
    FROM jobs AS job
    WHERE job.namespace = roots.namespace AND job.root_job_id = roots.job_id
) AS stands
ORDER BY roots.occurred_at DESC, roots.namespace, roots.job_id;
